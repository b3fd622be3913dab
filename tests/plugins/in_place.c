/*
 * Takes records as they stand in WAL, and what it does not take so, decoded.
 * Built under several names: the sums of all of them must be the same, however
 * the records came. With -DTAKES=n it takes every n-th in place; without it has
 * no such callback. With -DRESTORES it asks for images that are not there.
 */
#include "walker.h"

#include "common/hashfn.h"
#include "port/pg_crc32c.h"
#include "utils/builtins.h"

PG_MODULE_MAGIC;
WALKER_PLUGIN_ABI;

typedef struct Area
{
	uint64		in_place;
	uint64		decoded;
	uint64		longest;		/* bytes of the longest record taken in place */
	uint64		wrong;			/* bytes that are not what they should be */
	uint64		sum;
} Area;

static Area *area;

static void
startup(void)
{
	area = walker_services()->shared_area(NAME, sizeof(Area), NULL);
	if (area == NULL)
		elog(ERROR, "no room for %s", NAME);
}

static void
add(XLogRecPtr lsn, XLogRecPtr end_lsn, const XLogRecord *header)
{
	uint64		hash;

	hash = hash_bytes_extended((const unsigned char *) header, SizeOfXLogRecord, lsn);
	area->sum = hash_combine64(area->sum, hash ^ end_lsn);
}

static void
decoded(XLogReaderState *record)
{
#ifdef RESTORES
	PGAlignedBlock page;

	/* The reader keeps the error of this, for whoever reads next. */
	if (RestoreBlockImage(record, XLR_MAX_BLOCK_ID, page.data))
		area->wrong++;
#endif
	area->decoded++;
	if (record->record->lsn != record->ReadRecPtr || record->record->next_lsn != record->EndRecPtr)
		area->wrong++;
	add(record->ReadRecPtr, record->EndRecPtr, &record->record->header);
}

#ifdef TAKES
static bool
in_place(const WalkerRecordBytes *record)
{
	const XLogRecord *header = record->record;
	pg_crc32c	crc;

	if (record->lsn / 8 % TAKES != 0)
		return false;
	area->in_place++;
	area->longest = Max(area->longest, header->xl_tot_len);
	INIT_CRC32C(crc);
	COMP_CRC32C(crc, ((const char *) header) + SizeOfXLogRecord, header->xl_tot_len - SizeOfXLogRecord);
	COMP_CRC32C(crc, (const char *) header, offsetof(XLogRecord, xl_crc));
	FIN_CRC32C(crc);
	if (!EQ_CRC32C(crc, header->xl_crc))
		area->wrong++;
	add(record->lsn, record->end_lsn, header);
	return true;
}
#endif

void
_PG_walker_plugin_init(WalkerCallbacks *cb)
{
	cb->startup_cb = startup;
	for (int i = 0; i < WALKER_RMGR_IDS; i++)
		cb->rmgr_cb[i] = decoded;
#ifdef TAKES
	cb->in_place_cb = in_place;
#endif
}

PG_FUNCTION_INFO_V1(came);

/* How the records came, and their sum. */
Datum
came(PG_FUNCTION_ARGS)
{
	Area	   *seen = walker_services()->shared_area(NAME, 0, NULL);

	if (seen == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("%llu|%llu|%llu|%llu|%llx",
											  (unsigned long long) seen->in_place,
											  (unsigned long long) seen->decoded,
											  (unsigned long long) seen->longest,
											  (unsigned long long) seen->wrong,
											  (unsigned long long) seen->sum)));
}
