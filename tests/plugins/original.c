/*
 * A plugin of the original contract: six members, no ABI symbol. Built with
 * -D for the spelling of the type, and once without our header at all, as it
 * would come from an old build.
 */
#ifdef OWN_HEADER
#include "postgres.h"
#include "access/xlogreader.h"
#include "fmgr.h"

typedef struct WALkerCallbacks
{
	void		(*startup_cb) (void);
	void		(*heap_cb) (XLogReaderState *record);
	void		(*heap2_cb) (XLogReaderState *record);
	void		(*xlog_cb) (XLogReaderState *record);
	void		(*xact_cb) (XLogReaderState *record);
	void		(*smgr_cb) (XLogReaderState *record);
} WALkerCallbacks;

extern PGDLLEXPORT void _PG_walker_plugin_init(WALkerCallbacks *cb);
#define SPELLING WALkerCallbacks
#else
#include "walker.h"
#endif

PG_MODULE_MAGIC;

static bool started = false;

static void
startup(void)
{
	started = true;
}

#define MUST_BE(rmid) \
	if (!started || XLogRecGetRmid(record) != (rmid)) \
		elog(ERROR, "record of resource manager %d in the wrong callback", \
			 (int) XLogRecGetRmid(record))

static void
heap(XLogReaderState *record)
{
	MUST_BE(RM_HEAP_ID);
}

static void
heap2(XLogReaderState *record)
{
	MUST_BE(RM_HEAP2_ID);
}

static void
xlog(XLogReaderState *record)
{
	MUST_BE(RM_XLOG_ID);
}

static void
xact(XLogReaderState *record)
{
	MUST_BE(RM_XACT_ID);
}

static void
smgr(XLogReaderState *record)
{
	MUST_BE(RM_SMGR_ID);
}

void
_PG_walker_plugin_init(SPELLING *cb)
{
	cb->startup_cb = startup;
	cb->heap_cb = heap;
	cb->heap2_cb = heap2;
	cb->xlog_cb = xlog;
	cb->xact_cb = xact;
	cb->smgr_cb = smgr;
}
