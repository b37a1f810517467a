// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where sdbus-c++ 1.2 (Debian 12) and 2.1 (Debian 13) differ, in one place, and the end of what they throw.
// Included by adapters only: bus_object.cc and sessions/logind.cc. Each object belongs to one thread.

#include <sdbus-c++/sdbus-c++.h>

#include <string>
#include <utility>
#include <vector>

#include "core/base/result.h"

namespace latchkey::agent::bus {

#if LATCHKEY_SDBUS_MAJOR >= 2
inline sdbus::Error make_error(const std::string& name, const std::string& message) {
    return {sdbus::Error::Name(name), message};
}
#else
inline sdbus::Error make_error(const std::string& name, const std::string& message) {
    return {name, message};
}
#endif

inline std::unique_ptr<sdbus::IProxy> make_proxy(sdbus::IConnection& bus, const std::string& service,
                                                 const std::string& path) {
#if LATCHKEY_SDBUS_MAJOR >= 2
    return sdbus::createProxy(bus, sdbus::ServiceName(service), sdbus::ObjectPath(path));
#else
    return sdbus::createProxy(bus, service, path);
#endif
}

inline std::unique_ptr<sdbus::IObject> make_object(sdbus::IConnection& bus, const std::string& path) {
#if LATCHKEY_SDBUS_MAJOR >= 2
    return sdbus::createObject(bus, sdbus::ObjectPath(path));
#else
    return sdbus::createObject(bus, path);
#endif
}

inline void take_name(sdbus::IConnection& bus, const std::string& name) {
#if LATCHKEY_SDBUS_MAJOR >= 2
    bus.requestName(sdbus::ServiceName(name));
#else
    bus.requestName(name);
#endif
}

// False: nothing was waiting.
inline bool process_one(sdbus::IConnection& bus) {
#if LATCHKEY_SDBUS_MAJOR >= 2
    return bus.processPendingEvent();
#else
    return bus.processPendingRequest();
#endif
}

// The effective user of the connection whose call is being handled, as the bus itself says.
inline uid_t caller_of(sdbus::IObject& object) {
#if LATCHKEY_SDBUS_MAJOR >= 2
    return object.getCurrentlyProcessedMessage().getCredsEuid();
#else
    return object.getCurrentlyProcessedMessage()->getCredsEuid();
#endif
}

inline void emit_changed(sdbus::IObject& object, const std::string& interface,
                         const std::vector<std::string>& names) {
#if LATCHKEY_SDBUS_MAJOR >= 2
    const std::vector<sdbus::PropertyName> properties(names.begin(), names.end());
    object.emitPropertiesChangedSignal(sdbus::InterfaceName(interface), properties);
#else
    object.emitPropertiesChangedSignal(interface, names);
#endif
}

// An interface of an object, described item by item; export_to() puts it on the bus.
class InterfaceOf {
public:
    InterfaceOf(sdbus::IObject& object, std::string name) : object_(object), name_(std::move(name)) {}
    using Names = std::vector<std::string>;

    template <class Handler>
    void method(const std::string& name, const Names& in, const Names& out, Handler handler) {
#if LATCHKEY_SDBUS_MAJOR >= 2
        items_.emplace_back(
            sdbus::registerMethod(name).withInputParamNames(in).withOutputParamNames(out).implementedAs(
                std::move(handler)));
#else
        object_.registerMethod(name)
            .onInterface(name_)
            .withInputParamNames(in)
            .withOutputParamNames(out)
            .implementedAs(std::move(handler));
#endif
    }
    template <class Getter>
    void property(const std::string& name, sdbus::Flags::PropertyUpdateBehaviorFlags changes, Getter getter) {
#if LATCHKEY_SDBUS_MAJOR >= 2
        items_.emplace_back(
            sdbus::registerProperty(name).withGetter(std::move(getter)).withUpdateBehavior(changes));
#else
        object_.registerProperty(name)
            .onInterface(name_)
            .withGetter(std::move(getter))
            .withUpdateBehavior(changes);
#endif
    }
    template <class... Values>
    void signal(const std::string& name, const Names& values) {
#if LATCHKEY_SDBUS_MAJOR >= 2
        items_.emplace_back(sdbus::registerSignal(name).template withParameters<Values...>(values));
#else
        object_.registerSignal(name).onInterface(name_).template withParameters<Values...>(values);
#endif
    }
    void put_on_bus() {
#if LATCHKEY_SDBUS_MAJOR >= 2
        object_.addVTable(std::move(items_)).forInterface(name_);
#else
        object_.finishRegistration();
#endif
    }

private:
    sdbus::IObject& object_;
    std::string name_;
#if LATCHKEY_SDBUS_MAJOR >= 2
    std::vector<sdbus::VTableItem> items_;
#endif
};

// Runs a handler that the bus calls: 1.2 lets everything but its own Error out into a C library.
template <class Handler>
auto answer_bus(Handler handler) -> decltype(handler()) {
    try {
        return handler();
    } catch (const sdbus::Error&) {
        throw;
    } catch (const std::exception& problem) {
        throw make_error("org.latchkey.Error.Internal", problem.what());
    } catch (...) {
        throw make_error("org.latchkey.Error.Internal", "unknown fault");
    }
}

// Runs one exchange with the bus; nothing that sdbus-c++ throws gets past it. `code_of` makes our code of the
// error's name.
template <class Exchange, class CodeOf>
auto guarded(const char* what, CodeOf code_of, Exchange exchange) -> decltype(exchange()) {
    try {
        return exchange();
    } catch (const sdbus::Error& error) {
        const std::string& name = error.getName();
        return fail(code_of(name), std::string(what) + ": " + name + ": " + error.getMessage());
    } catch (const std::exception& error) {
        return fail(Code::kUnavailable, std::string(what) + ": " + error.what());
    } catch (...) {
        return fail(Code::kUnavailable, std::string(what) + ": unknown fault of the bus library");
    }
}

} // namespace latchkey::agent::bus
