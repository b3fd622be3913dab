/*
 * counter: a plugin that wants every record and does next to nothing with it.
 * What it costs is what it costs to be called.
 */
#include "walker.h"

PG_MODULE_MAGIC;
WALKER_PLUGIN_ABI;

static uint64 counts[WALKER_RMGR_IDS];

static void
count(XLogReaderState *record)
{
	counts[XLogRecGetRmid(record)]++;
}

void
_PG_walker_plugin_init(WalkerCallbacks *cb)
{
	for (int id = 0; id < WALKER_RMGR_IDS; id++)
		cb->rmgr_cb[id] = count;
}
