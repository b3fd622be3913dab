/* A walker plugin, but no PostgreSQL module. */
#include "walker.h"

void
_PG_walker_plugin_init(WalkerCallbacks *cb)
{
	cb->startup_cb = NULL;
}
