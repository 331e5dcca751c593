#include "tests/sim/cluster/plants.h"

enum manager_fault manager_planted_fault;

const struct plant plants[] = {
	{.name = "ack-before-successor", .chain = CHAIN_FAULT_ACK_BEFORE_SUCCESSOR},
	{.name = "no-duplicate-check", .chain = CHAIN_FAULT_NO_DUPLICATE_CHECK},
	{.name = "commit-out-of-order", .chain = CHAIN_FAULT_COMMIT_OUT_OF_ORDER},
	{.name = "no-gap-check", .chain = CHAIN_FAULT_NO_GAP_CHECK},
	{.name = "serve-unready", .chain = CHAIN_FAULT_SERVE_UNREADY},
	{.name = "no-epoch-check", .chain = CHAIN_FAULT_NO_EPOCH_CHECK},
	{.name = "serve-without-lease", .chain = CHAIN_FAULT_SERVE_WITHOUT_LEASE},
	{.name = "forget-behind-cursor", .chain = CHAIN_FAULT_FORGET_BEHIND_CURSOR},
	{.name = "resume-unequal", .chain = CHAIN_FAULT_RESUME_UNEQUAL, .rare = true},
	{.name = "no-flush-at-end", .chain = CHAIN_FAULT_NO_FLUSH_AT_END},
	{.name = "never-strict", .chain = CHAIN_FAULT_NEVER_STRICT},
	{.name = "copy-while-changed", .chain = CHAIN_FAULT_COPY_WHILE_CHANGED},
	{.name = "keep-old-connections", .chain = CHAIN_FAULT_KEEP_OLD_CONNECTIONS},
	{.name = "accept-fenced", .chain = CHAIN_FAULT_ACCEPT_FENCED},
	{.name = "ack-fence-early", .chain = CHAIN_FAULT_ACK_FENCE_EARLY},
	{.name = "ack-uncompared", .chain = CHAIN_FAULT_ACK_UNCOMPARED, .rare = true},
	{.name = "ack-at-old-epoch", .manager = MANAGER_FAULT_ACK_AT_OLD_EPOCH},
	{.name = "cut-off-counts", .manager = MANAGER_FAULT_CUT_OFF_COUNTS},
	{.name = "lease-while-owed", .manager = MANAGER_FAULT_LEASE_WHILE_OWED},
	{.name = "evict-unanswered", .chain = CHAIN_FAULT_EVICT_UNANSWERED},
	{.name = "drop-begun", .chain = CHAIN_FAULT_DROP_BEGUN},
	{.name = "forget-altered", .chain = CHAIN_FAULT_FORGET_ALTERED, .rare = true},
	{.name = "place-by-old-map", .chain = CHAIN_FAULT_PLACE_BY_OLD_MAP, .first = 350},
	{.name = "promote-on-old-epoch", .manager = MANAGER_FAULT_PROMOTE_ON_OLD_EPOCH},
	{.name = "renew-before-publication", .manager = MANAGER_FAULT_RENEW_BEFORE_PUBLICATION},
	{.name = "out-without-waiting", .manager = MANAGER_FAULT_OUT_WITHOUT_WAITING},
	{.name = "no-demotion", .manager = MANAGER_FAULT_NO_DEMOTION},
	{.name = "old-copy", .manager = MANAGER_FAULT_OLD_COPY},
	{.name = "no-fence", .manager = MANAGER_FAULT_NO_FENCE},
	{.name = "forget-fence", .manager = MANAGER_FAULT_FORGET_FENCE},
	{.name = "tell-unsettled", .manager = MANAGER_FAULT_TELL_UNSETTLED},
	{.name = "publish-early", .manager = MANAGER_FAULT_PUBLISH_EARLY},
	{.name = "refuse-left-out", .manager = MANAGER_FAULT_IGNORE_SEEN},
	{.name = "member-forgets-epoch",
	 .chain = CHAIN_FAULT_FORGET_EPOCH,
	 .manager = MANAGER_FAULT_IGNORE_SEEN},
	{.name = "seen-not-durable", .chain = CHAIN_FAULT_SEEN_NOT_DURABLE, .first = 750},
	{.name = "take-any-master", .chain = CHAIN_FAULT_TAKE_ANY_MASTER},
	{.name = "accept-epochs-short", .manager = MANAGER_FAULT_ACCEPT_EPOCHS_SHORT, .first = 500},
	{.name = "accept-ids-short", .manager = MANAGER_FAULT_ACCEPT_IDS_SHORT},
	{.name = "reports-outlive", .manager = MANAGER_FAULT_REPORTS_OUTLIVE, .rare = true},
	{.name = "tell-all-fenced", .manager = MANAGER_FAULT_TELL_ALL_FENCED, .first = 1300117149},
	{.name = "accept-lives-old", .manager = MANAGER_FAULT_ACCEPT_LIVES_OLD, .first = 15592},
	{.name = "accept-unfenced", .manager = MANAGER_FAULT_ACCEPT_UNFENCED, .rare = true},
};
const size_t plant_count = sizeof(plants) / sizeof(plants[0]);

void plant(size_t i)
{
	chain_planted_fault = i < plant_count ? plants[i].chain : CHAIN_FAULT_NONE;
	manager_planted_fault = i < plant_count ? plants[i].manager : MANAGER_FAULT_NONE;
}

size_t plant_by_name(const char *name)
{
	size_t i = 0;

	while (i < plant_count && strcmp(plants[i].name, name) != 0)
		i++;
	return i;
}

/* ---- the log: without real time, and only when it is asked for ---- */

bool log_wanted;

bool __wrap_log_enabled(enum log_level level);
bool __wrap_log_rate_ok(struct log_rate *state, uint32_t per_second);
void __wrap_log_write(enum log_level level, const char *module, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

bool __wrap_log_enabled(enum log_level level)
{
	return log_wanted;
}

bool __wrap_log_rate_ok(struct log_rate *state, uint32_t per_second)
{
	return log_wanted;
}

void __wrap_log_write(enum log_level level, const char *module, const char *format, ...)
{
	va_list args;

	if (!log_wanted)
		return;
	va_start(args, format);
	fprintf(stderr, "                %s: ", module);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
}
