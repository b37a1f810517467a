// SPDX-License-Identifier: Apache-2.0
#include "core/protocol/hub.h"
#include "core/protocol/local.h"
#include "core/protocol/signer.h"
#include "tests/fuzz/fuzz.h"

namespace p = latchkey::protocol;
using latchkey::ByteView;

namespace {

template <class Message>
void round_trip(const p::Frame& frame, ByteView whole) {
    const auto message = p::decode<Message>(frame);
    if (message) LK_MUST(latchkey::equal(p::encode(*message), whole));
}

template <class... Messages>
void round_trip_each(const p::Frame& frame, ByteView whole) {
    (round_trip<Messages>(frame, whole), ...);
}

} // namespace

// The input is a stream of frames. A frame that decodes as a message of its type is encoded as the same
// bytes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    ByteView input(data, size);
    while (true) {
        const auto need = p::frame_size(input, p::kHubFrameLimit);
        if (!need || !*need || **need > input.size()) return 0;
        const ByteView whole = input.first(**need);
        const auto frame = p::decode_frame(whole);
        LK_MUST(frame);
        LK_MUST(latchkey::equal(p::encode_frame(frame->type, frame->fields), whole));
        LK_MUST(!p::decode_frame(whole.first(whole.size() - 1)));
        round_trip_each<p::Unsupported, p::Refused, p::Authorize, p::Authorized, p::AccountCheck,
                        p::AccountAnswer, p::SessionOpen, p::SessionAnswer, p::SessionClose, p::Acknowledged,
                        p::AgentStatus, p::AgentStatusAnswer, p::Join, p::Joined, p::Hello, p::Welcome,
                        p::Fetch, p::Grant, p::Revoke, p::Receipt, p::SessionEvent, p::Heartbeat, p::Trust,
                        p::SessionEnd, p::SessionEnded, p::Refresh, p::Report, p::Reported, p::StepUp,
                        p::StepUpCode, p::StepUpAnswer, p::HubStepUp, p::HubStepUpAnswer, p::SignCertificate,
                        p::Signed, p::PublicKeys, p::PublicKeyList>(*frame, whole);
        input = input.subspan(whole.size());
    }
}
