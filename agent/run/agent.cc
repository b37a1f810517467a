// SPDX-License-Identifier: Apache-2.0
#include "agent/run/agent.h"

#include <grp.h>
#include <pwd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <optional>

#include "agent/gate/strays.h"
#include "agent/local/local_server.h"
#include "agent/log/log.h"
#include "agent/loop/asio_loop.h"
#include "agent/revoke/receipt_log.h"
#include "agent/run/broker_talk.h"
#include "agent/run/bus_desk.h"
#include "core/posix/notify.h"

namespace latchkey::agent {
namespace {

// Before the broker is known to send its own; also what cannot reach anybody posts here.
class HubSwitch : public HubPort {
public:
    void connect_to(HubPort& hub) { hub_ = &hub; }
    void send(Bytes frame) override {
        if (hub_ != nullptr) hub_->send(std::move(frame));
    }
    void post(Bytes frame) override {
        if (hub_ != nullptr) hub_->post(std::move(frame));
    }

private:
    HubPort* hub_ = nullptr;
};

struct HelperUser {
    uid_t uid = 0;
    gid_t gid = 0;
    bool exists = false;
};

HelperUser find_helper_user(const std::string& name) {
    const passwd* entry = ::getpwnam(name.c_str());
    return entry == nullptr ? HelperUser{} : HelperUser{entry->pw_uid, entry->pw_gid, true};
}

void note_damage(AgentState& state, Reports& reports, TroubleKind kind, const std::string& line) {
    log_error("fail to load state why=" + line);
    state.troubles.set(kind, line);
    reports.add("state", line);
}

// A torn file: said, and managed logins stay closed.
template <class T>
std::optional<T> load(AgentState& state, Reports& reports, TroubleKind kind, Result<T> loaded) {
    if (loaded) return *std::move(loaded);
    note_damage(state, reports, kind, loaded.error().line());
    return std::nullopt;
}

// Lost or torn, the list is heard again from the first broker that is reached.
BrokerOrder::Known known_brokers(const StateFolder& folder, const BrokerPin& pin, const AgentConfig& config) {
    BrokerOrder::Known known{pin.broker, config.brokers, {}};
    auto told = folder.load_brokers();
    if (told) {
        known.told = *std::move(told);
    } else if (told.error().code != Code::kNotFound) {
        log_warn("fail to load brokers why=" + told.error().line());
    }
    return known;
}

// Which logins are gated, from the best source that can be read.
void load_managed(AgentState& state, const StateFolder& folder,
                  const std::optional<protocol::TrustSet>& trust) {
    if (trust) return state.set_managed(trust->managed_logins);
    const auto listed = folder.load_managed_logins();
    if (listed) return state.set_managed(*listed);
    state.set_managed({});
    state.everything_is_managed = true;
}

} // namespace

struct Agent::Parts {
    Parts(boost::asio::io_context& io, const Clock& clock, const AgentConfig& the_config,
          std::unique_ptr<SessionEnder> the_ender, Pool* shared_pool)
        : config(the_config),
          folder(config.state_dir, std::filesystem::path(config.socket).parent_path()),
          helper(find_helper_user(config.helper_user)),
          state(clock),
          loop(io, shared_pool),
          ender(std::move(the_ender)),
          sessions(state, loop, hub, *ender),
          fetches(state, loop, hub),
          keys(state, fetches, monitors, processes),
          accounts(state, loop, monitors, sessions, processes),
          step_ups(state, loop, hub, monitors, sessions, processes),
          strays(state, loop, monitors, sessions, *ender, processes),
          front(state, keys, accounts, sessions, step_ups, helper.uid),
          disk(loop),
          reports(state, hub),
          keeper(state, loop, sessions, reports, disk, folder),
          receipts(loop, folder),
          server(io, [this](const Peer& peer, const protocol::Frame& request,
                            const Front::Reply& reply) { front.answer(peer, request, reply); }),
          bus_desk(state, sessions, front) {
        if (config.dbus == BusUse::kAuto)
            bus.emplace(bus_desk, [&io](auto job) { boost::asio::post(io, std::move(job)); });
    }

    // What the rooms tell the system bus.
    void connect_bus() {
        bus_desk.on_resync([this] {
            revoker->ask_for_all();
            link->renew("a full resync was asked for");
        });
        if (!bus) return;
        talk->on_change([this] { bus->publish(bus_desk.view()); });
        talk->on_trust_change([this] { bus->tell_trust_changed(); });
        revoker->on_applied([this](const Revoker::Applied& applied) {
            bus->tell({applied.epoch, applied.kind, applied.sessions_ended});
        });
    }

    void beat() {
        // First, so that whatever fails below is tried again. Until a broker has said how often, every
        // second: it may want it that often, and drops who is late.
        const Micros pause = state.broker_clock.is_known() ? state.beat : from_seconds(1);
        loop.after(pause, [this] { beat(); });
        state.lease.beat();
        sessions.sweep();
        strays.look();
        monitors.drop_dead(processes);
        step_ups.drop_dead();
        state.grants.drop_ended(state.judged());
        if (revoker) revoker->tidy();
        keeper.try_again();
        keeper.collect_uses();
        if (link) link->beat();
        if (bus) bus->look();
        posix::notify_alive();
    }

    AgentConfig config;
    StateFolder folder;
    HelperUser helper;
    AgentState state;
    AsioLoop loop;
    HubSwitch hub;
    ProcProcesses processes;
    std::unique_ptr<SessionEnder> ender;
    Monitors monitors;
    SessionBook sessions;
    Fetches fetches;
    KeyGate keys;
    AccountGate accounts;
    StepUps step_ups;
    Strays strays;
    Front front;
    DiskQueue disk;
    Reports reports;
    Keeper keeper;
    ReceiptLog receipts;
    LocalServer server;
    // Only where the state on disk is whole.
    std::optional<keys::PrivateKey> identity;
    std::optional<BrokerOrder> brokers;
    std::optional<Revoker> revoker;
    std::optional<BrokerTalk> talk;
    std::optional<HubLink> link;
    AgentBusDesk bus_desk;
    std::optional<bus::BusService> bus;
};

Agent::Agent(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Agent::~Agent() {
    stop();
}

Result<std::unique_ptr<Agent>> Agent::make(boost::asio::io_context& io, const Clock& clock,
                                           const AgentConfig& config, std::unique_ptr<SessionEnder> ender,
                                           Pool* shared_pool, Micros connect_time) {
    auto parts = std::make_unique<Parts>(io, clock, config, std::move(ender), shared_pool);
    AgentState& state = parts->state;
    auto found_pin = parts->folder.load_pin();
    if (!found_pin && found_pin.error().code == Code::kNotFound) {
        return fail(Code::kNotFound, "this VM has not joined a broker (" + config.state_dir.string() + ")",
                    "run: latchkey-agent join <token>");
    }
    LK_CHECK(parts->folder.make());
    state.managed_by_config = config.managed_logins;
    state.local.insert(config.local_logins.begin(), config.local_logins.end());
    state.local.insert(config.break_glass.begin(), config.break_glass.end());
    state.break_glass = config.break_glass;
    Reports& reports = parts->reports;
    reports.on_change([&keeper = parts->keeper] { keeper.keep_reports(); });
    parts->keeper.restore();
    auto pin = load(state, reports, TroubleKind::kState, std::move(found_pin));
    auto identity = load(state, reports, TroubleKind::kState, parts->folder.load_identity());
    auto trust = load(state, reports, TroubleKind::kTrust, parts->folder.load_trust());
    if (trust && trust->ca_keys.empty()) trust.reset(); // a join's: until a broker is heard the list counts
    auto files = std::make_shared<RevocationFiles>(config.state_dir);
    RevocationFiles::Loaded revocations = files->load();
    if (!revocations.damage.empty()) {
        note_damage(state, reports, TroubleKind::kRevocations,
                    revocations.damage + "; denied until the broker has sent every revocation");
    }
    load_managed(state, parts->folder, trust);
    if (!parts->helper.exists) {
        state.troubles.set(TroubleKind::kHelper,
                           "no user " + config.helper_user + ": only root may ask for keys");
        log_warn("miss helper user name=" + config.helper_user);
    }
    parts->sessions.on_change(
        [&keeper = parts->keeper](SessionBook::Recorded done) { keeper.keep_sessions(std::move(done)); });
    state.revocations = std::move(revocations.set);
    if (!pin || !identity) return std::unique_ptr<Agent>(new Agent(std::move(parts)));

    if (trust) {
        if (auto adopted = state.adopt(*trust); !adopted)
            note_damage(state, reports, TroubleKind::kTrust, adopted.error().line());
    }
    state.vm = pin->vm_name;
    state.vm_id = pin->vm_id;
    parts->identity.emplace(*std::move(identity));
    parts->brokers.emplace(pin->vm_id, known_brokers(parts->folder, *pin, config));
    parts->front.set_broker(parts->brokers->current().text());
    parts->revoker.emplace(Revoker::Parts{state, parts->loop, parts->disk, parts->hub, parts->sessions,
                                          parts->folder, *parts->identity, std::move(files)},
                           revocations.damage.empty() ? Revoker::OnDisk::kWhole : Revoker::OnDisk::kDamaged);
    parts->talk.emplace(BrokerTalk::Parts{state, parts->fetches, *parts->revoker, parts->sessions,
                                          parts->front, parts->keeper, parts->hub, parts->step_ups,
                                          parts->reports, *parts->brokers});
    parts->receipts.restore();
    parts->revoker->on_receipt(
        [&log = parts->receipts](const protocol::Receipt& receipt) { log.keep(receipt); });
    parts->link.emplace(io, clock, pin->broker_key, *parts->brokers, *parts->identity, *parts->talk,
                        connect_time);
    parts->hub.connect_to(*parts->link);
    parts->connect_bus();
    return std::unique_ptr<Agent>(new Agent(std::move(parts)));
}

Status Agent::start() {
    const AgentState& state = parts_->state;
    // The configuration may name other logins than before. A damaged state is left as it was found, and a
    // list that could not be read is not replaced by a shorter one.
    const bool is_damaged =
        !state.troubles.of(TroubleKind::kState).empty() || !state.troubles.of(TroubleKind::kTrust).empty();
    if (!is_damaged && !state.everything_is_managed) parts_->keeper.keep_trust();
    parts_->keeper.keep_break_glass();
    LK_CHECK(parts_->server.listen(parts_->config.socket, {parts_->helper.uid, parts_->helper.gid}));
    if (parts_->link) parts_->link->start();
    parts_->beat();
    if (parts_->bus) {
        parts_->bus->publish(parts_->bus_desk.view());
        parts_->bus->start();
    }
    log_info("run agent vm=" + state.vm.str() + " epoch=" + std::to_string(state.revocations.epoch().value) +
             (state.troubles.line().empty() ? "" : " trouble=" + state.troubles.line()));
    return {};
}

void Agent::stop() {
    parts_->server.stop();
    if (parts_->bus) parts_->bus->stop();
    if (parts_->link) parts_->link->stop();
    parts_->loop.stop();
}

} // namespace latchkey::agent
