#include "chunkserver/server/target_mend.h"
#include "common/base/expects.h"
#include "common/os/log.h"

#define LOG_MODULE "server"

static void recover_work(uv_work_t *work)
{
	struct target_mend *mend = work->data;

	if (store_recover(mend->store) == 0)
		log_info("target is back uuid=%s", store_uuid(mend->store));
}

static void recover_done(uv_work_t *work, int status)
{
	struct target_mend *mend = work->data;

	(void)status;
	expects(mend->recovering);
	mend->recovering = false;
}

bool target_mend_recover(struct target_mend *mend, uv_loop_t *loop)
{
	if (mend->recovering || !store_is_down(mend->store))
		return false;
	mend->recovery.data = mend;
	mend->recovering = uv_queue_work(loop, &mend->recovery, recover_work, recover_done) == 0;
	return true;
}

static void settle_work(uv_work_t *work)
{
	struct target_mend *mend = work->data;

	(void)store_damage_settled(mend->store); /* a failure is in the log, and we try again */
}

static void settle_done(uv_work_t *work, int status)
{
	struct target_mend *mend = work->data;

	(void)status;
	expects(mend->is_settling);
	mend->is_settling = false;
}

void target_mend_settle(struct target_mend *mend, uv_loop_t *loop)
{
	if (mend->is_settling || !store_damaged(mend->store) || store_is_down(mend->store))
		return;
	mend->settling.data = mend;
	mend->is_settling = uv_queue_work(loop, &mend->settling, settle_work, settle_done) == 0;
}
