-- What a rule says about sudo: 1 nothing, 2 free, 3 factor, 4 none. Under the MAC where it says something.

ALTER TABLE rules ADD COLUMN sudo BIGINT NOT NULL DEFAULT 1;
ALTER TABLE rules ADD COLUMN sudo_grace_seconds BIGINT NOT NULL DEFAULT 0;
