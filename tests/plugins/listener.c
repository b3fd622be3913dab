/*
 * A plugin that subscribes to a custom resource manager by name and to Generic
 * by number, and keeps what it needs to prove that each record came intact.
 */
#include "walker.h"

#include "common/hashfn.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/tuplestore.h"

PG_MODULE_MAGIC;
WALKER_PLUGIN_ABI;

#define MAX_HEARD 4096

typedef struct Heard
{
	XLogRecPtr	lsn;			/* end of the record */
	uint64		hash;			/* of its main data */
	uint32		len;			/* of its main data */
	uint32		xid;
	uint32		rmid;
	uint32		relfilenode;	/* of block 0, or 0 */
	uint32		blocks;			/* highest block reference + 1 */
	uint32		blkno;			/* of block 0 */
} Heard;

typedef struct Area
{
	uint32		n;
	Heard		heard[MAX_HEARD];
} Area;

static Area *
find_area(Size size)
{
	return walker_services()->shared_area("listener", size, NULL);
}

static Area *area;

static void
startup(void)
{
	area = find_area(sizeof(Area));
	if (area == NULL)
		elog(ERROR, "no room for listener");
}

static void
hear(XLogReaderState *record)
{
	Heard	   *heard;

	if (area->n >= MAX_HEARD)
		return;
	heard = &area->heard[area->n];
	memset(heard, 0, sizeof(Heard));
	heard->lsn = record->EndRecPtr;
	heard->len = XLogRecGetDataLen(record);
	heard->hash = hash_bytes_extended((unsigned char *) XLogRecGetData(record), heard->len, 0);
	heard->xid = XLogRecGetXid(record);
	heard->rmid = XLogRecGetRmid(record);
	heard->blocks = record->record->max_block_id + 1;
	if (heard->blocks > 0)
	{
#if PG_VERSION_NUM >= 160000
		heard->relfilenode = record->record->blocks[0].rlocator.relNumber;
#else
		heard->relfilenode = record->record->blocks[0].rnode.relNode;
#endif
		heard->blkno = record->record->blocks[0].blkno;
	}
	area->n++;
}

void
_PG_walker_plugin_init(WalkerCallbacks *cb)
{
	static const WalkerNamedRmgr named[] = {
		{"Walker Test Messages", hear},
		{"nobody registers this", hear},
		{NULL, NULL}
	};

	cb->startup_cb = startup;
	cb->rmgr_by_name = named;
	cb->rmgr_cb[RM_GENERIC_ID] = hear;
}

/* heard() returns setof record: the columns of Heard */
PG_FUNCTION_INFO_V1(heard);
Datum
heard(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Area	   *shared = find_area(0);

	InitMaterializedSRF(fcinfo, 0);
	for (uint32 i = 0; shared != NULL && i < shared->n; i++)
	{
		Heard	   *h = &shared->heard[i];
		bool		nulls[8] = {0};
		Datum		values[8];

		values[0] = LSNGetDatum(h->lsn);
		values[1] = Int64GetDatum((int64) h->hash);
		values[2] = Int64GetDatum(h->len);
		values[3] = Int64GetDatum(h->xid);
		values[4] = Int64GetDatum(h->rmid);
		values[5] = Int64GetDatum(h->relfilenode);
		values[6] = Int64GetDatum(h->blocks);
		values[7] = Int64GetDatum(h->blkno);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
