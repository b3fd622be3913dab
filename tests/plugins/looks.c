/*
 * A plugin that does nothing but look for interrupts at each logical message, as
 * any that does much should. It has done nothing for which it could be ended.
 */
#include "walker.h"

#include "miscadmin.h"

PG_MODULE_MAGIC;
WALKER_PLUGIN_ABI;

static void
message(XLogReaderState *record)
{
	CHECK_FOR_INTERRUPTS();
}

void
_PG_walker_plugin_init(WalkerCallbacks *cb)
{
	cb->rmgr_cb[RM_LOGICALMSG_ID] = message;
}
