/*
 * An extension with a custom resource manager whose records are messages.
 * After src/test/modules/test_custom_rmgrs of PostgreSQL.
 */
#include "postgres.h"

#include "access/rmgr.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xloginsert.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

PG_MODULE_MAGIC;

#define XLOG_TEST_MESSAGE 0x00

static void
test_redo(XLogReaderState *record)
{
	uint8		info = XLogRecGetInfo(record) & ~XLR_INFO_MASK;

	if (info != XLOG_TEST_MESSAGE)
		elog(PANIC, "test_rmgr: unknown op code %u", info);
}

static void
test_desc(StringInfo buf, XLogReaderState *record)
{
	appendStringInfo(buf, "%u bytes", XLogRecGetDataLen(record));
}

static const char *
test_identify(uint8 info)
{
	return (info & ~XLR_INFO_MASK) == XLOG_TEST_MESSAGE ? "MESSAGE" : NULL;
}

static const RmgrData test_rmgr = {
	.rm_name = "walker test messages",
	.rm_redo = test_redo,
	.rm_desc = test_desc,
	.rm_identify = test_identify,
};

void		_PG_init(void);

void
_PG_init(void)
{
	if (process_shared_preload_libraries_in_progress)
		RegisterCustomRmgr(RM_EXPERIMENTAL_ID, (RmgrData *) &test_rmgr);
}

/* test_message(content bytea, transactional boolean) returns pg_lsn */
PG_FUNCTION_INFO_V1(test_message);
Datum
test_message(PG_FUNCTION_ARGS)
{
	bytea	   *content = PG_GETARG_BYTEA_PP(0);
	XLogRecPtr	lsn;

	/* A transactional message has the ID of its transaction. */
	if (PG_GETARG_BOOL(1))
		GetCurrentTransactionId();
	XLogBeginInsert();
	XLogRegisterData(VARDATA_ANY(content), VARSIZE_ANY_EXHDR(content));
	lsn = XLogInsert(RM_EXPERIMENTAL_ID, XLOG_TEST_MESSAGE);
	PG_RETURN_LSN(lsn);
}
