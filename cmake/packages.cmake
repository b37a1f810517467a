# What is installed where, and the Debian packages that CPack makes of it: run packaging/build, not cpack itself.
include(GNUInstallDirs)

set(LK_LIBEXEC libexec/latchkey)
set(LK_MODULES lib/${CMAKE_LIBRARY_ARCHITECTURE})
set(LK_PACKAGING ${CMAKE_SOURCE_DIR}/packaging)
set(LK_STAGE ${CMAKE_BINARY_DIR}/packaging) # what is made for the packages at configure time

# Debian's version: of ours, with the release that it was built on, so that an upgrade of Debian brings the newer build.
set(LK_DEBIAN_RELEASE 0)
if(EXISTS /etc/os-release)
    file(STRINGS /etc/os-release lk_release REGEX "^VERSION_ID=")
    string(REGEX MATCH "[0-9]+" LK_DEBIAN_RELEASE "${lk_release}")
endif()
set(LK_DEBIAN_REVISION 1~deb${LK_DEBIAN_RELEASE})

# lk_documents(PACKAGE): copyright and changelog, as Debian wants them in each package.
function(lk_documents package)
    set(folder ${LK_STAGE}/${package})
    set(LK_PACKAGE ${package})
    configure_file(${LK_PACKAGING}/debian/changelog.in ${folder}/changelog.Debian @ONLY)
    execute_process(COMMAND gzip -9 --no-name --keep --force ${folder}/changelog.Debian COMMAND_ERROR_IS_FATAL ANY)
    install(FILES ${LK_PACKAGING}/debian/copyright ${folder}/changelog.Debian.gz
        DESTINATION share/doc/${package} COMPONENT ${package})
endfunction()

# lk_handbook(PACKAGE): docs/, which messages and the man pages name.
function(lk_handbook package)
    install(DIRECTORY ${CMAKE_SOURCE_DIR}/docs DESTINATION share/doc/${package} COMPONENT ${package})
endfunction()

# lk_manuals(PACKAGE PAGE…): pages of packaging/man, with our version in them.
function(lk_manuals package)
    foreach(page ${ARGN})
        string(REGEX MATCH "[0-9]$" section ${page})
        configure_file(${LK_PACKAGING}/man/${page} ${LK_STAGE}/man/${page} @ONLY)
        execute_process(COMMAND gzip -9 --no-name --keep --force ${LK_STAGE}/man/${page} COMMAND_ERROR_IS_FATAL ANY)
        install(FILES ${LK_STAGE}/man/${page}.gz DESTINATION share/man/man${section} COMPONENT ${package})
    endforeach()
endfunction()

# lk_completion(PACKAGE PROGRAM): its file of packaging/completion.
function(lk_completion package program)
    install(FILES ${LK_PACKAGING}/completion/${program}
        DESTINATION share/bash-completion/completions COMPONENT ${package})
endfunction()

# lk_control(PACKAGE FILE…): maintainer scripts and conffiles of that package.
function(lk_control package)
    string(TOUPPER ${package} upper)
    set(CPACK_DEBIAN_${upper}_PACKAGE_CONTROL_EXTRA "${ARGN}" PARENT_SCOPE)
endfunction()

# --- latchkey-agent ---------------------------------------------------------------------------------------------

install(TARGETS latchkey-agent DESTINATION sbin COMPONENT latchkey-agent)
install(TARGETS latchkey-authorized-keys DESTINATION ${LK_LIBEXEC} COMPONENT latchkey-agent)
install(TARGETS pam_latchkey LIBRARY DESTINATION ${LK_MODULES}/security COMPONENT latchkey-agent)
install(PROGRAMS packaging/agent/sshd-hooks DESTINATION ${LK_LIBEXEC} COMPONENT latchkey-agent)
install(FILES packaging/agent/latchkey-agent.service packaging/agent/latchkey-agent-join.service
    DESTINATION lib/systemd/system COMPONENT latchkey-agent)
install(FILES packaging/agent/sysusers.conf
    DESTINATION lib/sysusers.d RENAME latchkey-agent.conf COMPONENT latchkey-agent)
install(FILES packaging/agent/tmpfiles.conf
    DESTINATION lib/tmpfiles.d RENAME latchkey-agent.conf COMPONENT latchkey-agent)
install(FILES packaging/agent/org.latchkey.Agent1.conf
    DESTINATION share/dbus-1/system.d COMPONENT latchkey-agent)
install(FILES packaging/agent/agent.toml packaging/agent/sshd.conf
    DESTINATION /etc/latchkey COMPONENT latchkey-agent)
lk_documents(latchkey-agent)
lk_handbook(latchkey-agent)
lk_manuals(latchkey-agent latchkey-agent.8 latchkey-agent.toml.5 latchkey-authorized-keys.8 pam_latchkey.8)
lk_completion(latchkey-agent latchkey-agent)
install(FILES packaging/agent/lintian-overrides
    DESTINATION share/lintian/overrides RENAME latchkey-agent COMPONENT latchkey-agent)
lk_control(latchkey-agent
    ${LK_PACKAGING}/agent/conffiles ${LK_PACKAGING}/agent/postinst ${LK_PACKAGING}/agent/prerm
    ${LK_PACKAGING}/agent/postrm)
set(CPACK_DEBIAN_LATCHKEY-AGENT_PACKAGE_DEPENDS "openssh-server (>= 1:9.2), libpam-runtime, systemd")
set(CPACK_DEBIAN_LATCHKEY-AGENT_PACKAGE_RECOMMENDS "dbus, libpam-systemd")
set(CPACK_COMPONENT_LATCHKEY-AGENT_DESCRIPTION "lets in whom a Latchkey broker grants, and nobody else
Fetches and verifies short-lived SSH grants for sshd and PAM on this machine,
applies revocations and ends the sessions that they cover.
.
Until this machine joins a broker, its logins stay as they are.")

# --- latchkey-broker --------------------------------------------------------------------------------------------

install(TARGETS latchkeyd DESTINATION sbin COMPONENT latchkey-broker)
install(TARGETS latchkey-signer DESTINATION ${LK_LIBEXEC} COMPONENT latchkey-broker)
install(TARGETS plugin-sqlite plugin-totp plugin-file-signer plugin-recovery
    LIBRARY DESTINATION ${LK_MODULES}/latchkey/plugins COMPONENT latchkey-broker)
install(FILES packaging/broker/latchkeyd.service packaging/broker/latchkey-signer.service
    DESTINATION lib/systemd/system COMPONENT latchkey-broker)
install(FILES packaging/broker/sysusers.conf
    DESTINATION lib/sysusers.d RENAME latchkey-broker.conf COMPONENT latchkey-broker)
install(FILES packaging/broker/latchkeyd.toml DESTINATION /etc/latchkey COMPONENT latchkey-broker)
install(DIRECTORY packaging/grafana DESTINATION share/doc/latchkey-broker COMPONENT latchkey-broker)
lk_documents(latchkey-broker)
lk_handbook(latchkey-broker)
lk_manuals(latchkey-broker latchkeyd.8 latchkeyd.toml.5 latchkey-signer.8)
lk_completion(latchkey-broker latchkeyd)
lk_control(latchkey-broker
    ${LK_PACKAGING}/broker/conffiles ${LK_PACKAGING}/broker/postinst ${LK_PACKAGING}/broker/prerm
    ${LK_PACKAGING}/broker/postrm)
set(CPACK_DEBIAN_LATCHKEY-BROKER_PACKAGE_DEPENDS "openssh-client, systemd")
set(CPACK_COMPONENT_LATCHKEY-BROKER_DESCRIPTION "signs short-lived SSH access after a second factor
The broker that people unlock by ssh and that the agents on VMs ask, its
signer, which holds the CA key in a process of its own, and the plugins for
SQLite, TOTP, recovery codes and a CA key in a file.")

# --- latchkey-plugin-postgres: a package of its own, because it brings libpq -----------------------------------------

install(TARGETS plugin-postgres
    LIBRARY DESTINATION ${LK_MODULES}/latchkey/plugins COMPONENT latchkey-plugin-postgres)
lk_documents(latchkey-plugin-postgres)
set(CPACK_DEBIAN_LATCHKEY-PLUGIN-POSTGRES_PACKAGE_DEPENDS "latchkey-broker (= ${PROJECT_VERSION}-${LK_DEBIAN_REVISION})")
set(CPACK_DEBIAN_LATCHKEY-PLUGIN-POSTGRES_PACKAGE_SECTION database)
set(CPACK_COMPONENT_LATCHKEY-PLUGIN-POSTGRES_DESCRIPTION "lets Latchkey's brokers keep their rows in PostgreSQL
One PostgreSQL 15 or newer for any number of brokers, instead of the file on
one machine that latchkey-broker has by itself.")

# --- latchkey ---------------------------------------------------------------------------------------------------

install(TARGETS latchkey DESTINATION bin COMPONENT latchkey)
lk_documents(latchkey)
lk_manuals(latchkey latchkey.1)
lk_completion(latchkey latchkey)
set(CPACK_DEBIAN_LATCHKEY_PACKAGE_DEPENDS "openssh-client")
set(CPACK_DEBIAN_LATCHKEY_PACKAGE_SECTION net)
set(CPACK_COMPONENT_LATCHKEY_DESCRIPTION "command line for people who log in by a Latchkey broker
Fetches and renews SSH certificates and runs commands at the broker. What it
does, plain ssh can do as well.")

# --- All of them ------------------------------------------------------------------------------------------------

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME latchkey)
set(CPACK_PACKAGE_CONTACT "Latchkey <latchkey@example.org>")
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_COMPONENTS_ALL latchkey-agent latchkey-broker latchkey-plugin-postgres latchkey)
set(CPACK_DEBIAN_PACKAGE_RELEASE ${LK_DEBIAN_REVISION})
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
foreach(package ${CPACK_COMPONENTS_ALL})
    string(TOUPPER ${package} upper)
    set(CPACK_DEBIAN_${upper}_PACKAGE_NAME ${package})
    set(CPACK_DEBIAN_${upper}_FILE_NAME DEB-DEFAULT)
endforeach()
include(CPack)
