/*
 * A plugin that says it was built with another walker.h. Built with -D for
 * the version and the size it says.
 */
#include "walker.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT const WalkerPluginAbi *_PG_walker_plugin_abi(void);

const WalkerPluginAbi *
_PG_walker_plugin_abi(void)
{
	static const WalkerPluginAbi abi = {SAYS_VERSION, SAYS_SIZE};

	return &abi;
}

void
_PG_walker_plugin_init(WalkerCallbacks *cb)
{
	elog(PANIC, "a plugin with another table was called");
}
