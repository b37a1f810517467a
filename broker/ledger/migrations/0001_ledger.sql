-- The first schema. @ID@ is a 64-bit primary key, @BLOB@ a byte string: the two words that the stores spell
-- differently. Times are microseconds since 1970, 0 for never; ids are 63 random bits made by the broker.
-- `mac` covers table, id, version and the columns before it; columns after it decide nothing.

CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('epoch', 0), ('sequence', 0);

CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    version BIGINT NOT NULL,
    value TEXT NOT NULL,
    mac @BLOB@ NOT NULL
);

CREATE TABLE users (
    id @ID@,
    version BIGINT NOT NULL,
    name TEXT NOT NULL,
    email TEXT NOT NULL,
    role BIGINT NOT NULL,
    state BIGINT NOT NULL, -- 1 active, 2 locked, 3 removed
    lock_reason TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    mac @BLOB@ NOT NULL
);
CREATE UNIQUE INDEX users_name ON users (name) WHERE state <> 3;

CREATE TABLE keys (
    id @ID@,
    version BIGINT NOT NULL,
    user_id BIGINT NOT NULL REFERENCES users (id),
    fingerprint TEXT NOT NULL,
    key_blob @BLOB@ NOT NULL,
    name TEXT NOT NULL,
    state BIGINT NOT NULL, -- 1 registered, 2 removed
    added_at BIGINT NOT NULL,
    mac @BLOB@ NOT NULL
);
CREATE UNIQUE INDEX keys_fingerprint ON keys (fingerprint) WHERE state = 1;
CREATE INDEX keys_user ON keys (user_id);

CREATE TABLE factors (
    id @ID@,
    version BIGINT NOT NULL,
    user_id BIGINT NOT NULL REFERENCES users (id),
    kind TEXT NOT NULL,
    added_at BIGINT NOT NULL,
    sealed @BLOB@ NOT NULL -- bound to all columns before it
);
CREATE INDEX factors_user ON factors (user_id);

CREATE TABLE failures (
    user_id @ID@,
    times @BLOB@ NOT NULL, -- the failures of the last 15 minutes
    level BIGINT NOT NULL, -- how many blocks since the last success
    blocked_until BIGINT NOT NULL
);

CREATE TABLE invites (
    id @ID@,
    version BIGINT NOT NULL,
    user_id BIGINT NOT NULL REFERENCES users (id),
    code_hash @BLOB@ NOT NULL UNIQUE,
    ends_at BIGINT NOT NULL,
    spent_at BIGINT NOT NULL,
    mac @BLOB@ NOT NULL
);
CREATE INDEX invites_user ON invites (user_id);

CREATE TABLE unlocks (
    id @ID@,
    version BIGINT NOT NULL,
    user_id BIGINT NOT NULL REFERENCES users (id),
    key_id BIGINT NOT NULL REFERENCES keys (id),
    opened_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    factor_at BIGINT NOT NULL,
    ended_at BIGINT NOT NULL, -- taken away before its time
    mac @BLOB@ NOT NULL,
    certificates BIGINT NOT NULL -- how many were issued; the row that issuing locks
);
CREATE INDEX unlocks_user ON unlocks (user_id, ends_at);

CREATE TABLE user_groups (
    id @ID@,
    version BIGINT NOT NULL,
    name TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    mac @BLOB@ NOT NULL
);

CREATE TABLE members (
    group_id BIGINT NOT NULL REFERENCES user_groups (id),
    version BIGINT NOT NULL,
    user_id BIGINT NOT NULL REFERENCES users (id),
    added_at BIGINT NOT NULL,
    mac @BLOB@ NOT NULL,
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX members_user ON members (user_id);

CREATE TABLE rules (
    id @ID@,
    version BIGINT NOT NULL,
    group_id BIGINT NOT NULL REFERENCES user_groups (id),
    vm_selector TEXT NOT NULL,
    logins TEXT NOT NULL, -- comma-separated, as `allowed` is
    ttl_seconds BIGINT NOT NULL,
    from_networks TEXT NOT NULL,
    command TEXT NOT NULL,
    allowed TEXT NOT NULL,
    verify_required BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    mac @BLOB@ NOT NULL
);
CREATE INDEX rules_group ON rules (group_id);

CREATE TABLE vms (
    id @ID@,
    version BIGINT NOT NULL,
    name TEXT NOT NULL,
    raw_key @BLOB@ NOT NULL,
    labels @BLOB@ NOT NULL,
    state BIGINT NOT NULL, -- 1 active, 2 removed
    offline_grace_seconds BIGINT NOT NULL,
    joined_at BIGINT NOT NULL,
    mac @BLOB@ NOT NULL,
    last_seen BIGINT NOT NULL,
    confirmed_epoch BIGINT NOT NULL,
    clock_offset_micros BIGINT NOT NULL,
    software TEXT NOT NULL,
    trouble TEXT NOT NULL
);
CREATE UNIQUE INDEX vms_name ON vms (name) WHERE state = 1;
CREATE UNIQUE INDEX vms_key ON vms (raw_key) WHERE state = 1;

CREATE TABLE join_tokens (
    id TEXT PRIMARY KEY,
    version BIGINT NOT NULL,
    secret_hash @BLOB@ NOT NULL,
    uses_left BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    name_pattern TEXT NOT NULL,
    labels @BLOB@ NOT NULL,
    mac @BLOB@ NOT NULL
);

CREATE TABLE certificates (
    sequence @ID@,
    serial BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    key_id BIGINT NOT NULL,
    unlock_id BIGINT NOT NULL,
    key_fingerprint TEXT NOT NULL,
    ca_fingerprint TEXT NOT NULL,
    certificate @BLOB@ NOT NULL,
    digest @BLOB@ NOT NULL,
    statement @BLOB@ NOT NULL,
    epoch BIGINT NOT NULL,
    issued_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    mac @BLOB@ NOT NULL
);
CREATE UNIQUE INDEX certificates_serial ON certificates (serial);
CREATE INDEX certificates_user ON certificates (user_id, ends_at);
CREATE INDEX certificates_end ON certificates (ends_at);

CREATE TABLE revocations (
    epoch @ID@,
    id BIGINT NOT NULL,
    kind TEXT NOT NULL, -- the columns are for people and for queries: what counts is `record`
    text TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    drop_at BIGINT NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    record @BLOB@ NOT NULL,
    mac @BLOB@ NOT NULL
);

CREATE TABLE receipts (
    epoch BIGINT NOT NULL,
    vm_id BIGINT NOT NULL REFERENCES vms (id),
    receipt @BLOB@ NOT NULL, -- as the VM signed it
    received_at BIGINT NOT NULL,
    PRIMARY KEY (epoch, vm_id)
);

CREATE TABLE sessions (
    id @ID@,
    vm_id BIGINT NOT NULL REFERENCES vms (id),
    user_name TEXT NOT NULL,
    login TEXT NOT NULL,
    key_fingerprint TEXT NOT NULL,
    serial BIGINT NOT NULL,
    from_address TEXT NOT NULL,
    opened_at BIGINT NOT NULL,
    closed_at BIGINT NOT NULL,
    phase BIGINT NOT NULL, -- 1 opened, 2 closed, 3 ended, 4 refused
    end_reason TEXT NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_name, opened_at);
CREATE INDEX sessions_live ON sessions (vm_id) WHERE closed_at = 0;

CREATE TABLE audit (
    sequence @ID@,
    made_at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    outcome TEXT NOT NULL,
    detail TEXT NOT NULL,
    hash @BLOB@ NOT NULL
);
CREATE INDEX audit_actor ON audit (actor);
CREATE INDEX audit_object ON audit (object);

CREATE TABLE chain_head (
    id BIGINT PRIMARY KEY,
    sequence BIGINT NOT NULL,
    hash @BLOB@ NOT NULL,
    mac @BLOB@ NOT NULL
);
