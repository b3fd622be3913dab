/*
 * A plugin of a late form of the original table, with a seventh member where
 * our additions begin. It must not be called by way of ours.
 */
#include "walker.h"

PG_MODULE_MAGIC;

static void
never(XLogReaderState *record)
{
	elog(PANIC, "the seventh member was called");
}

void
_PG_walker_plugin_init(WalkerCallbacks *cb)
{
	cb->rmgr_cb[RM_XLOG_ID] = never;
}
