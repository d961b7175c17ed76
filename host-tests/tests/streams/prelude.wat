  ;; What every probe has. 0 and 4: address and size of what the host gives; 8..16: text that is being logged.
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (import "env" "proxy_done" (func $done (result i32)))
  (import "env" "proxy_get_buffer_bytes" (func $get_buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_buffer_bytes" (func $set_buffer (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_status" (func $buffer_status (param i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_value" (func $get_header (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_header_map_pairs" (func $get_pairs (param i32 i32 i32) (result i32)))
  (import "env" "proxy_set_header_map_pairs" (func $set_pairs (param i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value" (func $add_header (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_replace_header_map_value" (func $replace_header (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_remove_header_map_value" (func $remove_header (param i32 i32 i32) (result i32)))
  (import "env" "proxy_send_local_response" (func $send_reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
  (import "env" "proxy_close_stream" (func $close (param i32) (result i32)))
  (import "env" "proxy_http_call" (func $http_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
  (import "env" "proxy_get_property" (func $get_property (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_tick_period_milliseconds" (func $tick_every (param i32) (result i32)))
  (import "env" "proxy_get_shared_data" (func $get_shared (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_shared_data" (func $set_shared (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (global $heap (mut i32) (i32.const 65536))
  (global $stream (mut i32) (i32.const 0))
  (global $dead (mut i32) (i32.const 0))
  (global $count (mut i32) (i32.const 0))
  (func (export "malloc") (param $size i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (local.get $size))))
  (func (export "proxy_abi_version_0_2_1"))
  (data (i32.const 16) "x-probe")         ;; 7
  (data (i32.const 32) "seen")            ;; 4
  (data (i32.const 48) ":path")           ;; 5
  (data (i32.const 56) ":status")         ;; 7
  (data (i32.const 64) ":method")         ;; 7
  (data (i32.const 80) "denied")          ;; 6
  (data (i32.const 88) "again")           ;; 5
  (data (i32.const 96) "X-Probe")         ;; 7
  (data (i32.const 112) "cluster")        ;; 7
  (data (i32.const 128) "content-length") ;; 14
  (data (i32.const 144) ":authority")     ;; 10
  (data (i32.const 160) "\03\00\00\00\05\00\00\00\01\00\00\00\07\00\00\00\03\00\00\00\0a\00\00\00\01\00\00\00:path\00/\00:method\00GET\00:authority\00a\00") ;; 61
  (data (i32.const 240) "\01\00\00\00\04\00\00\00\03\00\00\00Only\00one\00") ;; 21
  (data (i32.const 272) "\03\00\00\00\07\00\00\00\03\00\00\00\03\00\00\00\01\00\00\00\03\00\00\00\01\00\00\00:status\00201\00X-A\001\00x-a\002\00") ;; 56
  (data (i32.const 336) "/other")         ;; 6
  (data (i32.const 344) "418")            ;; 3
  (data (i32.const 352) "cookie")         ;; 6
  (data (i32.const 360) "cache-control")  ;; 13
  ;; logs a text, and what is empty as `-`
  (func $say (param $at i32) (param $size i32)
    (if (i32.eqz (local.get $size))
      (then (i32.store8 (i32.const 8) (i32.const 45)) (drop (call $log (i32.const 2) (i32.const 8) (i32.const 1))))
      (else (drop (call $log (i32.const 2) (local.get $at) (local.get $size))))))
  ;; logs the probe's letter, one letter and two numbers below 10 (above: what comes behind 9 in ASCII)
  (func $note (param $letter i32) (param $one i32) (param $two i32)
    (i32.store8 (i32.const 8) (i32.const @SELF@))
    (i32.store8 (i32.const 9) (local.get $letter))
    (i32.store8 (i32.const 10) (i32.add (i32.const 48) (local.get $one)))
    (i32.store8 (i32.const 11) (i32.add (i32.const 48) (local.get $two)))
    (call $say (i32.const 8) (i32.const 4)))
  ;; logs what a host call came to
  (func $is (param $status i32) (call $note (i32.const 61) (local.get $status) (i32.const 0)))
  (func $say_given (call $say (i32.load (i32.const 0)) (i32.load (i32.const 4))))
  (func $say_body (param $buffer i32)
    (local $status i32)
    (i64.store (i32.const 0) (i64.const 0))
    (local.set $status (call $get_buffer (local.get $buffer) (i32.const 0) (i32.const 0x7fffffff) (i32.const 0) (i32.const 4)))
    (if (local.get $status) (then (call $is (local.get $status))) (else (call $say_given))))
  (func $say_header (param $map i32) (param $at i32) (param $size i32)
    (local $status i32)
    (local.set $status (call $get_header (local.get $map) (local.get $at) (local.get $size) (i32.const 0) (i32.const 4)))
    (if (local.get $status) (then (call $is (local.get $status))) (else (call $say_given))))
  (func $mark (param $map i32)
    (call $is (call $add_header (local.get $map) (i32.const 16) (i32.const 7) (i32.const 32) (i32.const 4))))
  (func $deny (param $status i32)
    (call $is (call $send_reply (local.get $status) (i32.const 0) (i32.const 0) (i32.const 80) (i32.const 6)
      (i32.const 0) (i32.const 0) (i32.const -1))))
  (func $deny_again (param $status i32)
    (call $is (call $send_reply (local.get $status) (i32.const 0) (i32.const 0) (i32.const 88) (i32.const 5)
      (i32.const 0) (i32.const 0) (i32.const -1))))
  (func $deny_empty (param $status i32)
    (call $is (call $send_reply (local.get $status) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
      (i32.const 0) (i32.const 0) (i32.const -1))))
  (func $call_out
    (call $is (call $http_call (i32.const 112) (i32.const 7) (i32.const 160) (i32.const 61)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 12))))
  (func $recurse (param $n i32) (result i32)
    (i32.add (i32.const 1) (call $recurse (i32.add (local.get $n) (i32.const 1)))))
