-- A VM may answer one revocation more than once (it comes back, a trouble is over): receipts are numbered per
-- epoch and VM, from 1.

CREATE TABLE numbered_receipts (
    epoch BIGINT NOT NULL,
    vm_id BIGINT NOT NULL REFERENCES vms (id),
    number BIGINT NOT NULL,
    receipt @BLOB@ NOT NULL, -- as the VM signed it
    received_at BIGINT NOT NULL,
    PRIMARY KEY (epoch, vm_id, number)
);
INSERT INTO numbered_receipts (epoch, vm_id, number, receipt, received_at)
    SELECT epoch, vm_id, 1, receipt, received_at FROM receipts;
DROP TABLE receipts;
ALTER TABLE numbered_receipts RENAME TO receipts;
CREATE INDEX receipts_vm ON receipts (vm_id, epoch);
