-- Brokers that serve this database, a row a run, and at which of them a VM is connected; and sessions that one
-- broker asks another to end. Nothing here lets anybody in: it says whom to wait for and whom to ask.

CREATE TABLE brokers (
    id @ID@, -- of one run, random
    address TEXT NOT NULL,
    seen_at BIGINT NOT NULL
);

ALTER TABLE vms ADD COLUMN broker_id BIGINT NOT NULL DEFAULT 0; -- 0: not connected
ALTER TABLE vms ADD COLUMN asks_about_sudo BIGINT NOT NULL DEFAULT 0; -- its agent, as it is connected now

CREATE TABLE session_ends (
    id @ID@,
    vm_id BIGINT NOT NULL REFERENCES vms (id),
    session_id BIGINT NOT NULL,
    reason TEXT NOT NULL,
    asked_at BIGINT NOT NULL,
    outcome BIGINT NOT NULL -- 0 none yet, 1 ended, 2 was gone, 3 still there
);
