-- What VMs report besides sessions and receipts; and revocations by what they name, so that a session that comes
-- back after months is compared with all of them at the price of a few.

CREATE TABLE vm_reports (
    vm_id BIGINT NOT NULL REFERENCES vms (id),
    id BIGINT NOT NULL, -- made by the VM, unique there alone
    kind TEXT NOT NULL,
    made_at BIGINT NOT NULL, -- as the VM says
    text TEXT NOT NULL,
    received_at BIGINT NOT NULL,
    PRIMARY KEY (vm_id, id)
);
CREATE INDEX vm_reports_time ON vm_reports (vm_id, received_at);

CREATE INDEX revocations_named ON revocations (kind, text);
