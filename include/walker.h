/*
 * walker.h
 *	  The contract between walker and its plugins.
 *
 * A plugin is a shared library that exports
 *
 *		void _PG_walker_plugin_init(WalkerCallbacks *cb);
 *
 * It fills the members it wants; walker has zeroed the table, and every member
 * is optional. A plugin that wants more than the six members of the original
 * contract says so by one line at file level:
 *
 *		WALKER_PLUGIN_ABI;
 *
 * Callbacks run in walker's background worker, one at a time, between two WAL
 * records. They may ereport(ERROR): the worker ends, restarts and resumes.
 * Memory allocated in CurrentMemoryContext is freed after the call, but for
 * startup_cb and start_lsn_cb, in which it lasts as long as the worker.
 */
#ifndef WALKER_H
#define WALKER_H

#include "postgres.h"

#include "access/heapam_xlog.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "access/xlogreader.h"
#include "access/xlogrecord.h"
#include "access/xlogutils.h"
#include "fmgr.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Version of this contract. 1 is the original one: six members, no symbol.
 * 3 added in_place_cb.
 */
#define WALKER_ABI_VERSION 3

/* All resource manager IDs, built-in and custom (128 to 255). */
#define WALKER_RMGR_IDS 256

/* "Where delivery stopped", as an answer of start_lsn_cb. */
#define WALKER_RESUME (~(XLogRecPtr) 0)

typedef void (*WalkerStartup_cb) (void);
typedef void (*WalkerRecord_cb) (XLogReaderState *record);
typedef void (*WalkerShutdown_cb) (void);
typedef XLogRecPtr (*WalkerFlush_cb) (XLogRecPtr upto);
typedef XLogRecPtr (*WalkerStartLsn_cb) (void);
typedef void (*WalkerGap_cb) (XLogRecPtr from, XLogRecPtr to);
typedef void (*WalkerTimeline_cb) (TimeLineID tli, XLogRecPtr lsn);
typedef void (*WalkerPoll_cb) (XLogRecPtr lsn);

/* A record callback for a resource manager by its registered name. */
typedef struct WalkerNamedRmgr
{
	const char *name;
	WalkerRecord_cb callback;
} WalkerNamedRmgr;

/*
 * A record as it stands in WAL: whole, its checksum verified, not decoded. The
 * bytes are walker's own: valid during the call, and not to be written. The
 * record is MAXALIGNed; what is in it is not, unlike what XLogRecGetData() and
 * XLogRecGetBlockData() return.
 */
typedef struct WalkerRecordBytes
{
	XLogRecPtr	lsn;			/* where it begins */
	XLogRecPtr	end_lsn;		/* where it ends */
	const XLogRecord *record;	/* its header, xl_tot_len bytes in all */
} WalkerRecordBytes;

typedef bool (*WalkerInPlace_cb) (const WalkerRecordBytes *record);

typedef struct WalkerCallbacks
{
	/* Called once, before the first record. */
	WalkerStartup_cb startup_cb;

	/* Records of one resource manager. The record is valid during the call. */
	WalkerRecord_cb heap_cb;
	WalkerRecord_cb heap2_cb;
	WalkerRecord_cb xlog_cb;
	WalkerRecord_cb xact_cb;
	WalkerRecord_cb smgr_cb;

	/* From here on only for plugins with WALKER_PLUGIN_ABI. */

	/* By resource manager ID; wins over the member with a name. */
	WalkerRecord_cb rmgr_cb[WALKER_RMGR_IDS];

	/* Called before the worker leaves, after the last flush. */
	WalkerShutdown_cb shutdown_cb;

	/*
	 * Make your state durable; all WAL up to 'upto' has been delivered.
	 * Return the position up to which the state is durable now, or
	 * InvalidXLogRecPtr if there is no state: nothing of it is needed again. A
	 * state that is not durable yet is still the one before: return its position.
	 */
	WalkerFlush_cb flush_cb;

	/*
	 * Called after startup: records that end at or before the position
	 * returned are not delivered. InvalidXLogRecPtr means that the plugin has
	 * no state yet; it then gets all WAL from the last redo pointer on. A
	 * plugin without state of its own leaves this out, or returns
	 * WALKER_RESUME: it goes on where the worker before this one stopped.
	 */
	WalkerStartLsn_cb start_lsn_cb;

	/* The WAL between the two positions was lost. */
	WalkerGap_cb gap_cb;

	/*
	 * Reading has come to timeline 'tli'. 'lsn' is where the reader is, near the
	 * switch: up to a segment before it, or some records behind it.
	 */
	WalkerTimeline_cb timeline_cb;

	/*
	 * Called between records: at every wake-up of the worker, at least once a
	 * second; while records are read at least every 10 ms or so, which can be
	 * many thousands of them; and before walker_status and walker_wait say
	 * that they were applied. All WAL up to 'lsn' has been delivered, or lies
	 * before where the plugin's own state began.
	 */
	WalkerPoll_cb poll_cb;

	/*
	 * By the name under which a resource manager is registered, for custom
	 * ones: their number is a local choice. An array that ends with a NULL
	 * name and outlives the call of _PG_walker_plugin_init. A callback by
	 * number wins. Case does not matter; a name that is not registered is a
	 * warning in the log.
	 */
	const WalkerNamedRmgr *rmgr_by_name;

	/*
	 * Tried before a record callback, where walker has the record as it stands
	 * in WAL, for plugins that read the format themselves and gain by it. True
	 * if the record has been taken. False if not: then it is decoded, and goes
	 * to the record callback, as do those that walker does not have like this:
	 * some that cross the end of a page, and very long ones. Only called for
	 * resource managers that have a record callback. Since version 3.
	 */
	WalkerInPlace_cb in_place_cb;
} WalkerCallbacks;

/* The other spelling that was in use. */
typedef WalkerCallbacks WALkerCallbacks;

typedef void (*WalkerPluginInit) (WalkerCallbacks *cb);
typedef WalkerPluginInit WALkerPluginInit;

extern PGDLLEXPORT void _PG_walker_plugin_init(WalkerCallbacks *cb);

typedef struct WalkerPluginAbi
{
	uint32		abi_version;
	uint32		struct_size;
} WalkerPluginAbi;

extern PGDLLEXPORT const WalkerPluginAbi *_PG_walker_plugin_abi(void);

#define WALKER_PLUGIN_ABI \
const WalkerPluginAbi * \
_PG_walker_plugin_abi(void) \
{ \
	static const WalkerPluginAbi abi = { \
		WALKER_ABI_VERSION, (uint32) sizeof(WalkerCallbacks) \
	}; \
	return &abi; \
} \
extern int	walker_plugin_abi_needs_semicolon

/* A record, and by its checksum its content. */
typedef struct WalkerRecordId
{
	XLogRecPtr	lsn;			/* where it begins */
	XLogRecPtr	end_lsn;		/* where it ends */
	uint32		crc;			/* its xl_crc */
	TimeLineID	tli;			/* the timeline it belongs to */
} WalkerRecordId;

/*
 * What walker offers to plugins, in any process of a server that has preloaded
 * it. Reached by walker_services(), which is NULL elsewhere.
 */
typedef struct WalkerServices
{
	uint32		abi_version;
	uint32		struct_size;

	/*
	 * Find the named part of walker's shared memory or, in the worker and with
	 * size > 0, reserve it: zeroed, aligned to a cache line, for the life of
	 * the server. NULL if there is none, or not enough room. One that has been
	 * reserved keeps its size: without 'actual', which is set to it, NULL is
	 * returned if that is less than 'size'.
	 */
	void	   *(*shared_area) (const char *name, size_t size, size_t *actual);

	/* Bytes of walker's shared memory not yet lent. */
	size_t		(*shared_free) (void);

	/* Up to where the named plugin has seen all WAL. */
	XLogRecPtr	(*applied_lsn) (const char *plugin);

	/* Write to the server log in the plugin's name; elevel below ERROR. */
	void		(*log) (int elevel, const char *plugin, const char *message);

	/* Wake the worker, so that it calls poll_cb soon. */
	void		(*wake) (void);

	/*
	 * In the worker, from flush_cb and poll_cb: the last record that was
	 * delivered. Saved with a plugin's state, it proves later that the state
	 * belongs to this server's history. False if there is none. In a record
	 * callback it may still be one before that.
	 */
	bool		(*last_record) (WalkerRecordId *id);

	/*
	 * In the worker: whether this server's WAL holds that very record, on the
	 * timeline that the server's history says it belongs to. Where a primary's
	 * WAL is not there any more, this tells that it was lost: ask for the state
	 * to begin with, in startup_cb, and set one aside that is refused.
	 */
	bool		(*check_record) (const WalkerRecordId *id);

	/*
	 * In the worker, from flush_cb: only a part of a large state was written.
	 * Call flush_cb again after the next few records, or at once if there are
	 * none. Nobody reads WAL while flush_cb runs, so it should be brief. From
	 * poll_cb: there is something to write though no checkpoint asks for it.
	 */
	void		(*flush_again) (void);
} WalkerServices;

static inline const WalkerServices *
walker_services(void)
{
	return *(const WalkerServices **) find_rendezvous_variable("walker_services");
}

#ifdef __cplusplus
}
#endif

#endif							/* WALKER_H */
