/*
 * Preloaded before libc: a disk on which the state files of walker are never
 * synced while there is a file "slow_disk" in the data directory. Whoever
 * waits, says so by a file "slow_disk.waits".
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int
concerns_walker(int fd)
{
	char		link[64];
	char		path[4096];
	ssize_t		len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 1);
	if (len <= 0)
		return 0;
	path[len] = '\0';
	return strstr(path, "/pg_walker") != NULL;
}

int
fsync(int fd)
{
	static int	(*real) (int);

	if (real == NULL)
		*(void **) &real = dlsym(RTLD_NEXT, "fsync");
	/* The working directory of every process is the data directory. */
	if (concerns_walker(fd))
		while (access("slow_disk", F_OK) == 0)
		{
			close(open("slow_disk.waits", O_CREAT | O_WRONLY, 0600));
			usleep(1000);
		}
	return real(fd);
}
