/*
 * A plugin that does what a logical message with the prefix "misdeed" tells
 * it: every way a C plugin can go wrong that a server can survive. A message
 * begins with how often it is to be obeyed, "3 error" for one that is obeyed
 * when it is read for the first, second and third time.
 */
#include "walker.h"

#include <unistd.h>

#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "replication/message.h"
#include "utils/memutils.h"

PG_MODULE_MAGIC;
WALKER_PLUGIN_ABI;

/* In shared memory, because each time it is another process that reads. */
typedef struct Done
{
	XLogRecPtr	lsn;
	int			times;
} Done;

static Done *done;
static int	countdown = -1;
static bool leaking = false;
static bool staying = false;

/* Whether the record at hand is still to be obeyed. */
static bool
obey(XLogReaderState *record, int times)
{
	if (done->lsn != record->ReadRecPtr)
	{
		done->lsn = record->ReadRecPtr;
		done->times = 0;
	}
	return done->times++ < times;
}

static void
startup(void)
{
	done = walker_services()->shared_area("misdeeds", sizeof(Done), NULL);
	if (done == NULL)
		elog(ERROR, "no room for misdeeds");
	/* It takes its time, as long as there is such a file in the data directory. */
	while (access("late", F_OK) == 0)
	{
		CHECK_FOR_INTERRUPTS();
		pg_usleep(1000);
	}
}

static void
loop(void)
{
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		pg_usleep(1000);
	}
}

/* No misdeed: at work when SIGTERM comes, and done soon after. */
static void
work_on(void)
{
	int			left = 100;

	while (left > 0)
	{
		CHECK_FOR_INTERRUPTS();
		pg_usleep(1000);
		if (ShutdownRequestPending)
			left--;
	}
}

/* Looks for interrupts only when it is too late: the server's die was asked for. */
static void
overstay(void)
{
	while (!ProcDiePending)
		pg_usleep(1000);
}

/* Until there is no stack left: in fact there is no end, which the compiler may not see. */
static volatile int endless = 1;

static int
recurse(int depth)
{
	volatile char frame[1024];

	frame[depth % 1024] = depth;
	return endless ? recurse(depth + 1) + frame[depth % 7] : depth;
}

/* Every time, unless there is such a file in the data directory. */
static void
crash(const char *by)
{
	if (access("harmless", F_OK) == 0)
		return;
	if (strcmp(by, "a store") == 0)
		*(volatile int *) NULL = 1;
	else if (strcmp(by, "abort") == 0)
		abort();
	else if (strcmp(by, "PANIC") == 0)
		elog(PANIC, "misdeed: PANIC in a record");
	else
		recurse(0);
}

static void
misdeed(const char *what)
{
	if (strcmp(what, "error") == 0)
		ereport(ERROR, (errmsg("misdeed: ERROR in a record"), errdetail("As told.")));
	else if (strcmp(what, "rethrow") == 0)
	{
		PG_TRY();
		{
			elog(ERROR, "misdeed: thrown again");
		}
		PG_CATCH();
		{
			PG_RE_THROW();
		}
		PG_END_TRY();
	}
	else if (strcmp(what, "fatal") == 0)
		elog(FATAL, "misdeed: FATAL in a record");
	else if (strcmp(what, "exit 0") == 0)
		exit(0);
	else if (strcmp(what, "exit 3") == 0)
		exit(3);
	else if (strncmp(what, "crash by ", 9) == 0)
		crash(what + 9);
	else if (strcmp(what, "huge") == 0)
		palloc(MaxAllocSize + (Size) 1);
	else if (strcmp(what, "warning") == 0)
		elog(WARNING, "misdeed: only a WARNING");
	else if (strcmp(what, "loop") == 0)
		loop();
	else if (strcmp(what, "work on") == 0)
		work_on();
	else if (strcmp(what, "overstay") == 0)
		overstay();
	else if (strcmp(what, "loop blindly") == 0)
	{
		for (;;)
			pg_usleep(1000);
	}
	else if (strcmp(what, "leak") == 0)
		leaking = true;
	else if (strcmp(what, "stay") == 0)
		staying = true;
	else if (strncmp(what, "after ", 6) == 0)
		countdown = atoi(what + 6);
	else
		elog(PANIC, "unknown misdeed \"%s\"", what);
}

static void
message(XLogReaderState *record)
{
	xl_logical_message *xlrec = (xl_logical_message *) XLogRecGetData(record);

	if (strcmp(xlrec->message, "misdeed") == 0)
	{
		char	   *text = pnstrdup(xlrec->message + xlrec->prefix_size, xlrec->message_size);
		char	   *what;
		int			times = strtol(text, &what, 10);

		if (obey(record, times))
			misdeed(what + 1);
	}
}

static void
heap(XLogReaderState *record)
{
#ifdef AT_EVERY_RECORD
	if (obey(record, 1))
		elog(ERROR, "misdeed: ERROR at every record");
#endif
	/* Freed by walker after each record, or it would be gigabytes. */
	memset(palloc(256 * 1024), 1, 256 * 1024);
	if (leaking)
		memset(MemoryContextAlloc(TopMemoryContext, 256 * 1024), 1, 256 * 1024);
	if (countdown >= 0 && countdown-- == 0)
		elog(ERROR, "misdeed: ERROR after a while");
}

static void
shutdown(void)
{
	/* SIGTERM was served long ago. */
	if (staying)
		loop();
}

void
_PG_walker_plugin_init(WalkerCallbacks *cb)
{
	cb->startup_cb = startup;
	cb->rmgr_cb[RM_LOGICALMSG_ID] = message;
	cb->heap_cb = heap;
	cb->shutdown_cb = shutdown;
}
