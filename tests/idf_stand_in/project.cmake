# Stands in for ESP-IDF's tools/cmake/project.cmake: CMake itself reads a generated project's lists and looks for
# every file they name, without ESP-IDF. What it found is left in compile_commands.json and asked.txt.

set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(IDF_TARGET esp32s3)

function(idf_build_set_property property value)
    if(NOT property STREQUAL MINIMAL_BUILD)
        message(FATAL_ERROR "idf_build_set_property: unexpected ${property}")
    endif()
endfunction()

function(esptool_py_flash_to_partition flash_target partition file)
    file(APPEND ${CMAKE_BINARY_DIR}/asked.txt "flash ${partition} ${file}\n")
endfunction()

function(idf_component_register)
    cmake_parse_arguments(component "" "" "SRCS;INCLUDE_DIRS;REQUIRES;PRIV_REQUIRES" ${ARGN})
    if(component_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "idf_component_register: unexpected ${component_UNPARSED_ARGUMENTS}")
    endif()
    foreach(folder ${component_INCLUDE_DIRS})
        if(NOT IS_DIRECTORY ${CMAKE_CURRENT_LIST_DIR}/${folder})
            message(FATAL_ERROR "Include directory '${folder}' is not a directory")
        endif()
    endforeach()
    add_library(${COMPONENT_LIB} STATIC ${component_SRCS})
    target_include_directories(${COMPONENT_LIB} PUBLIC ${component_INCLUDE_DIRS})
    file(APPEND ${CMAKE_BINARY_DIR}/asked.txt "requires ${COMPONENT_LIB} ${component_REQUIRES} ${component_PRIV_REQUIRES}\n")
endfunction()

# As in ESP-IDF, project() also adds the components: main and what the project's own folder holds.
macro(project name)
    _project(${name} C CXX ASM)
    file(GLOB components RELATIVE ${CMAKE_SOURCE_DIR} components/*)
    foreach(folder main ${components})
        get_filename_component(component ${folder} NAME)
        set(COMPONENT_LIB __idf_${component})
        add_subdirectory(${folder})
    endforeach()
endmacro()
