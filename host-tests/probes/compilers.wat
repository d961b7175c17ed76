;; What compilers import: pthread_equal, emscripten_notify_memory_growth.
(module
 (import "env" "pthread_equal" (func $equal (param i32 i32) (result i32)))
 (import "env" "emscripten_notify_memory_growth" (func $grown (param i32)))
 ;; include "prelude.wat"
 (func (export "proxy_abi_version_0_2_1"))
 (func (export "proxy_on_request_headers") (param $id i32) (param $count i32) (param $end_of_stream i32) (result i32)
  (if (call $asked (local.get $id) (text "compilers")) (then
   (call $told (text "equal") (call $equal (i32.const 5) (i32.const 5)))
   (call $told (text "not equal") (call $equal (i32.const 5) (i32.const 6)))
   (call $grown (i32.const 0))
   (call $say (text "grown"))))
  (i32.const 0))
)
