/* A plugin that fails before its first record. Built with -D for where. */
#include "walker.h"

#include "storage/lwlock.h"

PG_MODULE_MAGIC;
WALKER_PLUGIN_ABI;

void		_PG_init(void);

void
_PG_init(void)
{
#ifdef FATAL_IN_PG_INIT
	elog(FATAL, "misdeed: FATAL in _PG_init");
#endif
#ifdef CRASH_IN_PG_INIT
	*(volatile int *) NULL = 1;
#endif
}

#ifdef CRASH_IN_STARTUP
static void
startup(void)
{
	*(volatile int *) NULL = 1;
}
#endif

#ifdef ERROR_IN_STARTUP
static void
startup(void)
{
	elog(ERROR, "misdeed: ERROR in startup");
}
#endif

#ifdef ERROR_IN_POLL
static void
poll(XLogRecPtr lsn)
{
	elog(ERROR, "misdeed: ERROR in poll");
}
#endif

void
_PG_walker_plugin_init(WalkerCallbacks *cb)
{
#ifdef ERROR_IN_INIT
	ereport(ERROR, (errmsg("misdeed: ERROR in init"), errdetail("As told.")));
#endif
#ifdef ERROR_WITH_A_LOCK
	if (!LWLockConditionalAcquire(AddinShmemInitLock, LW_EXCLUSIVE))
		elog(ERROR, "misdeed: somebody has kept the lock");
	elog(ERROR, "misdeed: ERROR with a lock");
#endif
#if defined(ERROR_IN_STARTUP) || defined(CRASH_IN_STARTUP)
	cb->startup_cb = startup;
#endif
#ifdef ERROR_IN_POLL
	cb->poll_cb = poll;
#endif
}
