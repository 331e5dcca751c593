/* namespace.h - what requests of clients do with names, inodes and their attributes.
 *
 * Each reads and changes through the transaction, and fills the reply. The rules of names are those
 * of common/cluster/namespace_rules.h. */
#ifndef CATENA_MASTER_NAMESPACE_NAMESPACE_H
#define CATENA_MASTER_NAMESPACE_NAMESPACE_H
#include "catena.pb-c.h"
#include "master/namespace/reply.h"
#include "master/records/txn.h"

/* Errors: -errno of the request; of the store when txn->store_error is set. */
int namespace_lookup(struct txn *txn, const Catena__LookupReq *req, struct reply_room *room);
int namespace_getattr(struct txn *txn, const Catena__GetattrReq *req, struct reply_room *room);
int namespace_readlink(struct txn *txn, const Catena__ReadlinkReq *req, struct reply_room *room);
int namespace_readdir(struct txn *txn, const Catena__ReaddirReq *req, struct reply_room *room);
int namespace_statfs(struct txn *txn, struct reply_room *room);
int namespace_create(struct txn *txn, const Catena__CreateReq *req, struct reply_room *room);
int namespace_delegate(struct txn *txn, const Catena__DelegateReq *req, struct reply_room *room);
int namespace_link(struct txn *txn, const Catena__LinkReq *req, struct reply_room *room);
int namespace_unlink(struct txn *txn, const Catena__UnlinkReq *req, struct reply_room *room);
int namespace_rename(struct txn *txn, const Catena__RenameReq *req, struct reply_room *room);
int namespace_setattr(struct txn *txn, const Catena__SetattrReq *req, struct reply_room *room);
int namespace_open(struct txn *txn, const Catena__OpenReq *req, struct reply_room *room);
int namespace_close(struct txn *txn, const Catena__CloseReq *req, struct reply_room *room);
int namespace_append(struct txn *txn, const Catena__AppendReq *req, struct reply_room *room);
int namespace_xattr(struct txn *txn, const Catena__XattrReq *req, struct reply_room *room);
#endif
