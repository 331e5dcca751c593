/* rpc_end.h - the end of a test that used common/rpc.
 *
 * gRPC takes connections apart on threads of its own: what it has left then would look like a leak. */
#ifndef CATENA_TESTS_LIB_RPC_END_H
#define CATENA_TESTS_LIB_RPC_END_H

/* Ends common/rpc, and returns when gRPC has let go of everything; after 20 s in any case. */
void rpc_end(void);
#endif
