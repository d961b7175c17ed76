;; proxy_send_local_response: texts and headers outside memory, then one that counts, and one too late.
(module
 (import "env" "proxy_send_local_response" (func $send (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
 ;; include "prelude.wat"
 (func (export "proxy_on_request_headers") (param $id i32) (param $count i32) (param $end_of_stream i32) (result i32)
  (if (call $asked (local.get $id) (text "send_local_response")) (then
   (call $told (text "details nowhere") (call $send (i32.const 403) (global.get $nowhere) (i32.const 1) (text "") (text "") (i32.const -1)))
   (call $told (text "body nowhere") (call $send (i32.const 403) (text "") (global.get $nowhere) (i32.const 1) (text "") (i32.const -1)))
   (call $told (text "headers nowhere") (call $send (i32.const 403) (text "") (text "") (global.get $nowhere) (i32.const 1) (i32.const -1)))
   (call $told (text "it") (call $send (i32.const 403) (text "why  not\nso") (text "denied\n") (text "\03\00\00\00\08\00\00\00\03\00\00\00\0c\00\00\00\09\00\00\00\08\00\00\00\05\00\00\00x-denied\00yes\00content-type\00text/html\00X-Denied\00twice\00") (i32.const -1)))
   (call $told (text "again") (call $send (i32.const 404) (text "again") (text "again") (text "") (i32.const -1)))
   (return (i32.const 1))))
  (i32.const 0))
 (func (export "proxy_on_response_headers") (param $id i32) (param $count i32) (param $end_of_stream i32) (result i32)
  (if (call $awake (local.get $id)) (then
   (call $told (text "for its own reply") (call $send (i32.const 500) (text "late") (text "late") (text "") (i32.const -1)))))
  (i32.const 0))
 (func (export "proxy_on_log") (param $id i32)
  (if (call $awake (local.get $id)) (then
   (call $told (text "logged") (call $send (i32.const 500) (text "late") (text "late") (text "") (i32.const -1))))))
)
