/*
 * A plugin that says whether it was polled behind a gap before anybody was told
 * that it is behind it.
 */
#include "walker.h"

PG_MODULE_MAGIC;
WALKER_PLUGIN_ABI;

static XLogRecPtr behind = InvalidXLogRecPtr;

static void
gap(XLogRecPtr from, XLogRecPtr to)
{
	behind = to;
}

static void
poll(XLogRecPtr lsn)
{
	const WalkerServices *services = walker_services();

	if (behind == InvalidXLogRecPtr)
		return;
	/* For the server alone, as COMMERROR is. */
	services->log(LOG_SERVER_ONLY, "gaps",
				  services->applied_lsn("gaps") < behind ? "polled in time" : "polled late");
	behind = InvalidXLogRecPtr;
}

void
_PG_walker_plugin_init(WalkerCallbacks *cb)
{
	cb->gap_cb = gap;
	cb->poll_cb = poll;
}
