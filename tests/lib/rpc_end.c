#include "tests/lib/rpc_end.h"

#include <grpc/grpc.h>
#include <unistd.h>
#include "common/rpc/rpc.h"

void rpc_end(void)
{
	rpc_shutdown();
	for (unsigned i = 0; i < 2000 && grpc_is_initialized(); i++)
		usleep(10000);
}
