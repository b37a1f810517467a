// SPDX-License-Identifier: Apache-2.0
#include "broker/ledger/vm_reports.h"

#include <algorithm>

#include "broker/ledger/audit.h"
#include "broker/ledger/ledger_for_tests.h"
#include "broker/ledger/revocations.h"
#include "broker/ledger/vms.h"

namespace latchkey::ledger {
namespace {

class VmReports : public LedgerTest {
protected:
    Vm add_vm(std::string_view name, std::uint8_t key) {
        const auto token = take(write(
            [](Transaction& t) { return add_join_token(t, 1, t.now + from_seconds(60), "*", {}, "root"); }));
        return take(write([&](Transaction& t) {
            return join_vm(t, token.id, token.secret.view(), take(VmName::parse(name)), Bytes(32, key), {});
        }));
    }
    void report(const Vm& vm, std::uint64_t id, const std::string& kind, const std::string& text) {
        protocol::Report report;
        report.id = id;
        report.kind = kind;
        report.time = clock_.now() + from_seconds(500); // a clock that is ahead
        report.text = text;
        take(write([&](Transaction& t) { return record_report(t, vm, report); }));
    }
    std::vector<VmReport> of(const Vm& vm, std::uint32_t limit = 10) {
        return take(read([&](Transaction& t) { return reports_of(t, vm.id, limit); }));
    }
    std::size_t audited(const std::string& action) {
        const auto rows = take(read([](Transaction& t) { return list_audit(t, {}); }));
        return static_cast<std::size_t>(
            std::ranges::count_if(rows, [&](const AuditRow& row) { return row.event.action == action; }));
    }
    protocol::SessionEvent session_of(const Person& person, const CertificateRow& certificate) {
        protocol::SessionEvent event;
        event.session = 7;
        event.user = person.user.name;
        event.key = certificate.key_fingerprint;
        event.serial = certificate.serial;
        return event;
    }
    std::optional<RevocationRow> covering(const Vm& vm, const protocol::SessionEvent& session) {
        return take(read([&](Transaction& t) { return revocation_of_session(t, vm, session); }));
    }
    void revoke_one(std::string_view kind, const std::string& text) {
        const auto selector = take(revocation::Selector::parse(kind, text));
        take(write([&](Transaction& t) { return revoke(t, selector, "left", "root"); }));
    }
};

TEST_F(VmReports, AreRecordedOnceWithAnAuditRowEach) {
    const Vm web = add_vm("web-1", 1);
    const Vm db = add_vm("db-1", 2);
    report(web, 5, "break-glass", "account rescue was used");
    report(web, 5, "break-glass", "account rescue was used");
    report(db, 5, "state", "torn\x1b[2J");
    ASSERT_EQ(of(web).size(), 1U);
    EXPECT_EQ(of(web)[0].kind, "break-glass");
    EXPECT_EQ(of(web)[0].made_at, clock_.now()) << "no later than it was received";
    ASSERT_EQ(of(db).size(), 1U) << "another VM's number is its own";
    EXPECT_EQ(of(db)[0].text, "torn?[2J");
    EXPECT_EQ(audited("break-glass"), 1U);
    EXPECT_EQ(audited("vm.report"), 1U);
}

TEST_F(VmReports, AreListedNewestFirst) {
    const Vm web = add_vm("web-1", 1);
    for (std::uint64_t i = 1; i <= 5; ++i) {
        clock_.advance(from_seconds(1));
        report(web, i, "state", std::to_string(i));
    }
    ASSERT_EQ(of(web, 2).size(), 2U);
    EXPECT_EQ(of(web, 2)[0].text, "5");
}

TEST_F(VmReports, OfTheBrokersOwnGetANumber) {
    const Vm web = add_vm("web-1", 1);
    report(web, 0, "clone", "two");
    report(web, 0, "clone", "two again");
    EXPECT_EQ(of(web).size(), 2U);
}

TEST_F(VmReports, OfASessionFindTheRevocationThatHasEndedSince) {
    const Vm web = add_vm("web-1", 1);
    const Person bob = add_person("bob");
    const Person eve = add_person("eve");
    const auto of_bob = session_of(bob, issue(bob));
    const auto of_eve = session_of(eve, issue(eve));
    EXPECT_FALSE(covering(web, of_bob));
    revoke_one("user", "bob");
    clock_.advance(from_seconds(90 * 24 * 3600));
    const auto found = covering(web, of_bob);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->revocation.epoch.value, 1U);
    EXPECT_FALSE(covering(web, of_eve)) << "and nobody else's";
    auto unknown = of_bob;
    unknown.serial = {4711};
    EXPECT_TRUE(covering(web, unknown)) << "denied when in doubt";
}

TEST_F(VmReports, OfASessionLeaveOneThatWasOpenedByALaterCertificate) {
    const Vm web = add_vm("web-1", 1);
    const Person bob = add_person("bob");
    const CertificateRow first = issue(bob);
    revoke_one("cert", std::to_string(first.serial.value));
    clock_.advance(from_seconds(10));
    const CertificateRow second = issue(bob);
    EXPECT_TRUE(covering(web, session_of(bob, first)));
    EXPECT_FALSE(covering(web, session_of(bob, second)));
    revoke_one("key", bob.key.fingerprint.str());
    EXPECT_TRUE(covering(web, session_of(bob, second)));
}

TEST_F(VmReports, OfASessionHeedVmCaAndTime) {
    const Vm web = add_vm("web-1", 1);
    const Vm db = add_vm("db-1", 2);
    const Person bob = add_person("bob");
    const CertificateRow certificate = issue(bob);
    revoke_one("vm", "web-1");
    EXPECT_TRUE(covering(web, session_of(bob, certificate)));
    EXPECT_FALSE(covering(db, session_of(bob, certificate)));
    clock_.advance(from_seconds(10));
    revoke_one("before", std::to_string(clock_.now().value));
    EXPECT_TRUE(covering(db, session_of(bob, certificate)));
}

TEST_F(VmReports, GraceIsSetUnderTheRowsMac) {
    const Vm web = add_vm("web-1", 1);
    const auto set = [&](std::uint32_t seconds) {
        return write([&](Transaction& t) { return set_offline_grace(t, web.name, seconds, "root"); });
    };
    ASSERT_TRUE(set(0));
    EXPECT_EQ(take(read([&](Transaction& t) { return find_vm(t, web.name); }))->offline_grace_seconds, 0U);
    ASSERT_TRUE(set(7200));
    EXPECT_EQ(take(read([&](Transaction& t) { return find_vm(t, web.name); }))->offline_grace_seconds, 7200U);
    EXPECT_EQ(audited("vm.set"), 2U);
    by_hand("UPDATE vms SET offline_grace_seconds = 9999999");
    EXPECT_FALSE(take(read([&](Transaction& t) { return find_vm(t, web.name); }))) << "widened by hand";
    EXPECT_EQ(code_of(set(60)), Code::kNotFound);
}

} // namespace
} // namespace latchkey::ledger
