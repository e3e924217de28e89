# tributary_pages(WEB dir SOURCES files… OUTPUT page_template.cc NODE_MODULES variable)
#   Bundles a folder of web sources into one C++ source. Its packages, of the versions that
#   package-lock.json says, are installed into the build tree: the source tree stays as it is. Both
#   steps run again only when a file that they read has changed.
#   Sets the variable to the folder of the installed packages; the tests' are among them if tests
#   are built.
include_guard(GLOBAL)

if(TRIBUTARY_WITH_PAGES)
  find_program(TRIBUTARY_NODE NAMES node nodejs)
  find_program(TRIBUTARY_NPM npm)
  if(NOT TRIBUTARY_NODE OR NOT TRIBUTARY_NPM)
    message(FATAL_ERROR "The pages that show runs are bundled with node and npm, which are not there: "
      "install them (Debian: nodejs npm) or configure with -DTRIBUTARY_WITH_PAGES=OFF")
  endif()
endif()

function(tributary_pages)
  cmake_parse_arguments(ARG "" "WEB;OUTPUT;NODE_MODULES" "SOURCES" ${ARGN})
  set(web ${CMAKE_CURRENT_SOURCE_DIR}/${ARG_WEB})
  set(packages ${CMAKE_CURRENT_BINARY_DIR}/${ARG_WEB})
  list(TRANSFORM ARG_SOURCES PREPEND ${web}/)
  if(TRIBUTARY_BUILD_TESTS)
    set(omit "")
  else()
    set(omit --omit=dev)
  endif()

  # npm writes this file last.
  set(installed ${packages}/node_modules/.package-lock.json)
  add_custom_command(OUTPUT ${installed}
    COMMAND ${CMAKE_COMMAND} -E copy ${web}/package.json ${web}/package-lock.json ${packages}
    COMMAND ${TRIBUTARY_NPM} ci --ignore-scripts --no-audit --no-fund --loglevel=error ${omit}
    COMMAND ${CMAKE_COMMAND} -E touch ${installed}
    WORKING_DIRECTORY ${packages}
    DEPENDS ${web}/package.json ${web}/package-lock.json
    COMMENT "Installing the pages' npm packages" VERBATIM)
  file(MAKE_DIRECTORY ${packages})

  add_custom_command(OUTPUT ${ARG_OUTPUT}
    COMMAND ${TRIBUTARY_NODE} ${web}/build.mjs ${packages}/node_modules ${ARG_OUTPUT}
    DEPENDS ${installed} ${web}/build.mjs ${ARG_SOURCES}
    COMMENT "Bundling the pages" VERBATIM)
  set(${ARG_NODE_MODULES} ${packages}/node_modules PARENT_SCOPE)
endfunction()
