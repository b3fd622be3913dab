/*
 * Preloaded into a server under test: in one process of it, some calls fail
 * that otherwise hardly ever do. Which process, which calls and how many is
 * said by a small file that the test writes while the server runs; the file
 * counts what happened. See tests/src/faults.rs, which knows its layout.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

enum
{
	MEMORY = 1, OPEN = 2, WRITE = 4, SYNC = 8, RENAME = 16, OPEN_WAL = 32
};

/* pid: the next process to be forked; all that are forked from now on */
#define NEXT_CHILD -1
#define NEW_PROCESSES -2

struct control
{
	_Atomic int64_t pid;		/* whose calls; 0 for nobody's */
	_Atomic int64_t what;		/* a mask of the above */
	_Atomic int64_t skip;		/* so many succeed, */
	_Atomic int64_t count;		/* then so many fail, */
	_Atomic int64_t least;		/* of those that ask for so many bytes */
	_Atomic int64_t error;		/* with this errno */
	_Atomic int64_t seen;		/* calls looked at */
	_Atomic int64_t hits;		/* calls that failed */
	_Atomic int64_t round;		/* how often a test has begun */
};

static struct control *control;
static int64_t self;
static int64_t forked_in = -1;

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static int
concerns_us(void)
{
	int64_t		pid;

	if (control == NULL || (pid = atomic_load(&control->pid)) == 0)
		return 0;
	return pid == self || (pid == NEW_PROCESSES && forked_in == atomic_load(&control->round));
}

/*
 * The dynamic loader cannot go on without memory for a library's thread-local
 * data, which it takes at their first use: it ends the process. walker's
 * libraries see to it that there is some (prepare() in walker-plugin); what
 * the loader then takes must not fail here, as it would not elsewhere.
 */
static uintptr_t loader_begin,
			loader_end;
static int	in_dlopen;

static int
is_thread_local_data(void *caller)
{
	return !in_dlopen && (uintptr_t) caller >= loader_begin && (uintptr_t) caller < loader_end;
}

void *
dlopen(const char *path, int flags)
{
	static void *(*real) (const char *, int);
	void	   *handle;

	if (real == NULL)
		real = (void *(*) (const char *, int)) dlsym(RTLD_NEXT, "dlopen");
	in_dlopen++;
	handle = real(path, flags);
	in_dlopen--;
	return handle;
}

static int
find_loader(struct dl_phdr_info *info, size_t size, void *unused)
{
	(void) size;
	(void) unused;
	if (info->dlpi_addr != getauxval(AT_BASE))
		return 0;
	loader_begin = info->dlpi_addr;
	for (int i = 0; i < info->dlpi_phnum; i++)
	{
		uintptr_t	end = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;

		if (info->dlpi_phdr[i].p_type == PT_LOAD && end > loader_end)
			loader_end = end;
	}
	return 1;
}

static int
fails(int64_t what, size_t size)
{
	int64_t		n;

	if (!concerns_us())
		return 0;
	if (!(atomic_load(&control->what) & what) || (int64_t) size < atomic_load(&control->least))
		return 0;
	n = atomic_fetch_add(&control->seen, 1) - atomic_load(&control->skip);
	if (n < 0 || n >= atomic_load(&control->count))
		return 0;
	atomic_fetch_add(&control->hits, 1);
	errno = atomic_load(&control->error);
	return 1;
}

static int
memory_fails(size_t size, void *caller)
{
	return !is_thread_local_data(caller) && fails(MEMORY, size);
}

static void
forked(void)
{
	int64_t		next = NEXT_CHILD;

	self = getpid();
	if (control == NULL)
		return;
	forked_in = atomic_load(&control->round);
	atomic_compare_exchange_strong(&control->pid, &next, self);
}

__attribute__((constructor)) static void
begin(void)
{
	const char *path = getenv("WALKER_FAULTS");
	int			fd;
	void	   *at;

	self = getpid();
	if (path == NULL || (fd = open(path, O_RDWR)) < 0)
		return;
	at = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (at == MAP_FAILED)
		return;
	dl_iterate_phdr(find_loader, NULL);
	control = at;
	pthread_atfork(NULL, NULL, forked);
}

void *
malloc(size_t size)
{
	return memory_fails(size, __builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *
calloc(size_t n, size_t size)
{
	return memory_fails(n * size, __builtin_return_address(0)) ? NULL : __libc_calloc(n, size);
}

void *
realloc(void *old, size_t size)
{
	return memory_fails(size, __builtin_return_address(0)) ? NULL : __libc_realloc(old, size);
}

int
posix_memalign(void **to, size_t align, size_t size)
{
	if (fails(MEMORY, size) || (*to = __libc_memalign(align, size)) == NULL)
		return ENOMEM;
	return 0;
}

/* Only what belongs to plugins' state. */
static int
concerns(const char *path)
{
	return strstr(path, "pg_walker") != NULL;
}

static int
fd_fails(int64_t what, int fd)
{
	char		link[64];
	char		path[512];
	ssize_t		n;

	if (!concerns_us())
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return 0;
	path[n] = '\0';
	return concerns(path) && fails(what, 0);
}

#define REAL(type, name, ...) \
	static type (*real) (__VA_ARGS__); \
	if (real == NULL) \
		real = (type (*) (__VA_ARGS__)) dlsym(RTLD_NEXT, name)

#define OPEN_FUNCTION(name) \
	int name(const char *path, int flags, ...) \
	{ \
		va_list		more; \
		mode_t		mode; \
		REAL(int, #name, const char *, int, ...); \
		va_start(more, flags); \
		mode = va_arg(more, mode_t); \
		va_end(more); \
		if (concerns(path) ? fails(OPEN, 0) : strstr(path, "pg_wal/") && fails(OPEN_WAL, 0)) \
			return -1; \
		return real(path, flags, mode); \
	}

#define FD_FUNCTION(name, what, type, arguments, ...) \
	type name(__VA_ARGS__) \
	{ \
		REAL(type, #name, __VA_ARGS__); \
		return fd_fails(what, fd) ? -1 : real arguments; \
	}

OPEN_FUNCTION(open)
OPEN_FUNCTION(open64)
FD_FUNCTION(write, WRITE, ssize_t, (fd, from, n), int fd, const void *from, size_t n)
FD_FUNCTION(fsync, SYNC, int, (fd), int fd)
FD_FUNCTION(fdatasync, SYNC, int, (fd), int fd)

int
rename(const char *from, const char *to)
{
	REAL(int, "rename", const char *, const char *);
	return concerns(to) && fails(RENAME, 0) ? -1 : real(from, to);
}
