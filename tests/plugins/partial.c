/*
 * A plugin without a position of its own that makes durable what it had up to its
 * first flush, and nothing after it.
 */
#include "walker.h"

PG_MODULE_MAGIC;
WALKER_PLUGIN_ABI;

static XLogRecPtr
flush(XLogRecPtr upto)
{
	static XLogRecPtr durable = InvalidXLogRecPtr;

	if (durable == InvalidXLogRecPtr)
		durable = upto;
	return durable;
}

void
_PG_walker_plugin_init(WalkerCallbacks *cb)
{
	cb->flush_cb = flush;
}
