/* A plugin with a thread of its own, which takes signals as it should not. */
#include "walker.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

PG_MODULE_MAGIC;
WALKER_PLUGIN_ABI;

static void *
idle(void *arg)
{
	sigset_t	none;

	sigemptyset(&none);
	pthread_sigmask(SIG_SETMASK, &none, NULL);
	for (;;)
		usleep(1000);
	return NULL;
}

static void
startup(void)
{
	pthread_t	thread;

	for (int i = 0; i < 4; i++)
		if (pthread_create(&thread, NULL, idle, NULL) != 0)
			elog(ERROR, "could not create a thread");
}

static void
record(XLogReaderState *record)
{
}

void
_PG_walker_plugin_init(WalkerCallbacks *cb)
{
	cb->startup_cb = startup;
	cb->heap_cb = record;
}
