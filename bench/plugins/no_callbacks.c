/*
 * no_callbacks: a plugin that wants no record. What it costs is what reading
 * the WAL costs.
 */
#include "walker.h"

PG_MODULE_MAGIC;
WALKER_PLUGIN_ABI;

void
_PG_walker_plugin_init(WalkerCallbacks *cb)
{
}
