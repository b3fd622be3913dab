/* A plugin that was built for another major version of the server. */
#include "walker.h"

extern PGDLLEXPORT const Pg_magic_struct *PG_MAGIC_FUNCTION_NAME(void);

const Pg_magic_struct *
PG_MAGIC_FUNCTION_NAME(void)
{
#if PG_VERSION_NUM >= 180000
	static Pg_magic_struct magic = PG_MODULE_MAGIC_DATA(0);

	magic.abi_fields.version = 1000;
#else
	static Pg_magic_struct magic = PG_MODULE_MAGIC_DATA;

	magic.version = 1000;
#endif
	return &magic;
}

void
_PG_walker_plugin_init(WalkerCallbacks *cb)
{
	elog(PANIC, "a plugin for another server was called");
}
