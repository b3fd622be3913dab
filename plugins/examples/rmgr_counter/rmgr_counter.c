/*
 * rmgr_counter: counts WAL records by resource manager.
 *
 * The model of a plugin in C. The counts are in walker's shared memory, so
 * they survive the worker and any session can read them.
 */
#include "extension/walker/walker.h"

#include "catalog/pg_type.h"
#include "utils/array.h"

PG_MODULE_MAGIC;
WALKER_PLUGIN_ABI;

#define AREA_SIZE (WALKER_RMGR_IDS * sizeof(uint64))

static uint64 *counts;

/* In the worker, before the first record. */
static void
startup(void)
{
	counts = walker_services()->shared_area("rmgr_counter", AREA_SIZE, NULL);
	if (counts == NULL)
		ereport(ERROR, (errmsg("no shared memory left for rmgr_counter"),
						errhint("Increase walker.shared_memory.")));
}

/* In the worker, for every record. */
static void
count(XLogReaderState *record)
{
	counts[XLogRecGetRmid(record)]++;
}

void
_PG_walker_plugin_init(WalkerCallbacks *cb)
{
	cb->startup_cb = startup;
	for (int id = 0; id < WALKER_RMGR_IDS; id++)
		cb->rmgr_cb[id] = count;
}

/* In any session: the counts, beginning with resource manager 0. */
PG_FUNCTION_INFO_V1(rmgr_counts);
Datum
rmgr_counts(PG_FUNCTION_ARGS)
{
	Datum		values[WALKER_RMGR_IDS];
	const WalkerServices *walker = walker_services();

	counts = walker ? walker->shared_area("rmgr_counter", 0, NULL) : NULL;
	if (counts == NULL)
		PG_RETURN_NULL();
	for (int id = 0; id < WALKER_RMGR_IDS; id++)
		values[id] = Int64GetDatum(counts[id]);
	PG_RETURN_ARRAYTYPE_P(construct_array(values, WALKER_RMGR_IDS, INT8OID,
										  8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}
