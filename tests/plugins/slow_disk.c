/*
 * Preloaded before libc: a disk on which the state files of walker are never
 * synced while there is a file "slow_disk" in the data directory, and
 * garbagemap's does not get its name while there is a file "slow_name". Whoever
 * waits, says so by a file "slow_disk.waits" or "slow_name.waits".
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

/* The working directory of every process is the data directory. */
static void
wait(const char *file, const char *says)
{
	while (access(file, F_OK) == 0)
	{
		close(open(says, O_CREAT | O_WRONLY, 0600));
		usleep(1000);
	}
}

int
rename(const char *from, const char *to)
{
	static int	(*real) (const char *, const char *);

	if (real == NULL)
		*(void **) &real = dlsym(RTLD_NEXT, "rename");
	if (strstr(from, "pg_walker/garbagemap.tmp") != NULL)
		wait("slow_name", "slow_name.waits");
	return real(from, to);
}

int
fsync(int fd)
{
	static int	(*real) (int);

	if (real == NULL)
		*(void **) &real = dlsym(RTLD_NEXT, "fsync");
	if (concerns_walker(fd))
		wait("slow_disk", "slow_disk.waits");
	return real(fd);
}
