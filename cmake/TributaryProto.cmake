# tributary_proto(NAME tributary_proto PROTOS a.proto … ROOT dir)
#   Messages and gRPC stubs; generated code is a system header (its warnings are not ours).
include_guard(GLOBAL)
find_program(TRIBUTARY_GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)

function(tributary_proto)
  cmake_parse_arguments(ARG "" "NAME;ROOT" "PROTOS" ${ARGN})
  set(out ${CMAKE_CURRENT_BINARY_DIR}/gen)
  file(MAKE_DIRECTORY ${out})
  set(generated)
  foreach(proto ${ARG_PROTOS})
    string(REGEX REPLACE "\\.proto$" "" stem ${proto})
    set(files ${out}/${stem}.pb.cc ${out}/${stem}.pb.h ${out}/${stem}.grpc.pb.cc ${out}/${stem}.grpc.pb.h)
    add_custom_command(
      OUTPUT ${files}
      COMMAND protobuf::protoc -I${ARG_ROOT} --cpp_out=${out} --grpc_out=${out}
              --plugin=protoc-gen-grpc=${TRIBUTARY_GRPC_CPP_PLUGIN} ${ARG_ROOT}/${proto}
      DEPENDS ${ARG_ROOT}/${proto}
      VERBATIM)
    list(APPEND generated ${files})
  endforeach()
  # For tools that read the sources without building them.
  add_custom_target(${ARG_NAME}_sources DEPENDS ${generated})
  add_library(${ARG_NAME} STATIC ${generated})
  target_include_directories(${ARG_NAME} SYSTEM PUBLIC ${out})
  target_link_libraries(${ARG_NAME} PUBLIC protobuf::libprotobuf gRPC::grpc++)
endfunction()
