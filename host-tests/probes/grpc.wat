;; gRPC: every call and callback, driven by the request's path. Each letter of the path is one step, in order, in the request headers
;; callback; what follows `!` is done inside gRPC callbacks: the next letter each time one comes.
;;
;;   c  proxy_grpc_call to the cluster `grpc`          s  proxy_grpc_stream to it; its token is kept
;;   u  a call to a cluster that is not there          w  a stream to it
;;   n  a call with the cluster's name as it is        z  a call with a service that is no protobuf
;;   y  a call with an empty service                   t  a call whose time is up after 400 ms
;;   o  a call without initial metadata                a  a call with an authority, a header and a timeout in the service
;;   h  a call to a cluster that speaks HTTP/1 (`http`)
;;   m  proxy_grpc_send "ping"                         e  the same, as the last message
;;   k  proxy_grpc_cancel                              x  proxy_grpc_close
;;   j  cancel, close and send for tokens unknown      q  cancel, close and send for the last call
;;   p  pause the request; on_grpc_receive of a call, or on_grpc_close, resumes it
;;   -  nothing (in a callback)
;;   v  log what the buffer and the maps hold
;;
;; It logs a letter for the call or callback, then statuses, tokens and sizes.
(module
 (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
 (import "env" "proxy_get_header_map_value" (func $value (param i32 i32 i32 i32 i32) (result i32)))
 (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
 (import "env" "proxy_get_header_map_size" (func $map_size (param i32 i32) (result i32)))
 (import "env" "proxy_get_buffer_bytes" (func $buffer (param i32 i32 i32 i32 i32) (result i32)))
 (import "env" "proxy_get_status" (func $status (param i32 i32 i32) (result i32)))
 (import "env" "proxy_set_effective_context" (func $effective (param i32) (result i32)))
 (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
 (import "env" "proxy_grpc_call"
  (func $grpc_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
 (import "env" "proxy_grpc_stream" (func $grpc_stream (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
 (import "env" "proxy_grpc_send" (func $grpc_send (param i32 i32 i32 i32) (result i32)))
 (import "env" "proxy_grpc_cancel" (func $grpc_cancel (param i32) (result i32)))
 (import "env" "proxy_grpc_close" (func $grpc_close (param i32) (result i32)))
 (memory (export "memory") 16)
 (func (export "proxy_abi_version_0_2_1"))
 ;; 16 pointer, 20 size, 24 token, 28 number; 1024.. texts; 4096.. the line; 8192.. the path; 65536.. what the host gives
 (global $line (mut i32) (i32.const 4096))
 (global $heap (mut i32) (i32.const 65536))
 (global $stream (mut i32) (i32.const 0))
 (global $call (mut i32) (i32.const 0))
 (global $paused (mut i32) (i32.const 0))
 ;; The stream's context, to be resumed.
 (global $context (mut i32) (i32.const 0))
 ;; What is done inside callbacks: address and end.
 (global $at (mut i32) (i32.const 0))
 (global $end (mut i32) (i32.const 0))
 (func (export "proxy_on_memory_allocate") (param $size i32) (result i32) (local $at i32)
  (if (i32.gt_u (i32.add (global.get $heap) (local.get $size)) (i32.const 1000000))
   (then (global.set $heap (i32.const 65536))))
  (local.set $at (global.get $heap))
  (global.set $heap (i32.add (global.get $heap) (local.get $size)))
  (local.get $at))

 ;; GrpcService {envoy_grpc {cluster_name: ..}}, and further.
 (data (i32.const 1024) "\0a\06\0a\04grpc")                    ;; 8
 (data (i32.const 1040) "\0a\09\0a\07nowhere")                 ;; 11
 (data (i32.const 1056) "\0a\06\0a\04http")                    ;; 8
 (data (i32.const 1072) "\ff\ff")                              ;; 2
 ;; envoy_grpc {cluster_name: "grpc", authority: "rpc.example.org"}, timeout 1 s, initial_metadata {x-service: yes}
 (data (i32.const 1088) "\0a\17\0a\04grpc\12\0frpc.example.org\1a\02\08\01\2a\10\0a\09x-service\12\03yes") ;; 47
 (data (i32.const 1152) "probe.Echo")                          ;; 10
 (data (i32.const 1168) "Say")                                 ;; 3
 (data (i32.const 1184) "\02\00\00\00\06\00\00\00\01\00\00\00\07\00\00\00\03\00\00\00x-meta\00m\00x-probe\00yes\00") ;; 41
 (data (i32.const 1232) "hello")                               ;; 5
 (data (i32.const 1248) "ping")                                ;; 4
 (data (i32.const 1264) ":path")                               ;; 5
 (data (i32.const 1280) "x-answer")                            ;; 8

 (func $put (param $byte i32)
  (i32.store8 (global.get $line) (local.get $byte))
  (global.set $line (i32.add (global.get $line) (i32.const 1))))
 (func $digits (param $number i32)
  (if (i32.ge_u (local.get $number) (i32.const 10)) (then (call $digits (i32.div_u (local.get $number) (i32.const 10)))))
  (call $put (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10)))))
 (func $number (param $number i32)
  (call $put (i32.const 32))
  (call $digits (local.get $number)))
 (func $text (param $at i32) (param $size i32)
  (call $put (i32.const 32))
  (memory.copy (global.get $line) (local.get $at) (local.get $size))
  (global.set $line (i32.add (global.get $line) (local.get $size))))
 (func $quoted (param $at i32) (param $size i32)
  (call $put (i32.const 32))
  (call $put (i32.const 96))
  (memory.copy (global.get $line) (local.get $at) (local.get $size))
  (global.set $line (i32.add (global.get $line) (local.get $size)))
  (call $put (i32.const 96)))
 (func $say
  (drop (call $log (i32.const 2) (i32.const 4096) (i32.sub (global.get $line) (i32.const 4096))))
  (global.set $line (i32.const 4096)))

 ;; Calls: letter, status, token.
 (func $note (param $letter i32) (param $status i32)
  (call $put (local.get $letter))
  (call $number (local.get $status))
  (if (i32.eqz (local.get $status)) (then (call $number (i32.load (i32.const 24)))))
  (call $say))
 (func $ask (param $letter i32) (param $service i32) (param $service_size i32) (param $pairs_size i32) (param $timeout i32)
  (local $status i32)
  (i32.store (i32.const 24) (i32.const 0))
  (local.set $status (call $grpc_call (local.get $service) (local.get $service_size)
   (i32.const 1152) (i32.const 10) (i32.const 1168) (i32.const 3) (i32.const 1184) (local.get $pairs_size)
   (i32.const 1232) (i32.const 5) (local.get $timeout) (i32.const 24)))
  (if (i32.eqz (local.get $status)) (then (global.set $call (i32.load (i32.const 24)))))
  (call $note (local.get $letter) (local.get $status)))
 (func $open (param $letter i32) (param $service i32) (param $service_size i32) (local $status i32)
  (i32.store (i32.const 24) (i32.const 0))
  (local.set $status (call $grpc_stream (local.get $service) (local.get $service_size)
   (i32.const 1152) (i32.const 10) (i32.const 1168) (i32.const 3) (i32.const 1184) (i32.const 41) (i32.const 24)))
  (if (i32.eqz (local.get $status)) (then (global.set $stream (i32.load (i32.const 24)))))
  (call $note (local.get $letter) (local.get $status)))
 (func $three (param $letter i32) (param $token i32)
  (call $put (local.get $letter))
  (call $number (call $grpc_send (local.get $token) (i32.const 1248) (i32.const 4) (i32.const 0)))
  (call $number (call $grpc_close (local.get $token)))
  (call $number (call $grpc_cancel (local.get $token)))
  (call $say))
 (func $view
  (call $put (i32.const 118))
  (call $number (call $buffer (i32.const 5) (i32.const 0) (i32.const 100) (i32.const 16) (i32.const 20)))
  (call $quoted (i32.load (i32.const 16)) (i32.load (i32.const 20)))
  (call $number (call $value (i32.const 4) (i32.const 1280) (i32.const 8) (i32.const 16) (i32.const 20)))
  (call $number (call $value (i32.const 5) (i32.const 1280) (i32.const 8) (i32.const 16) (i32.const 20)))
  (call $number (call $map_size (i32.const 4) (i32.const 28)))
  (call $number (call $pairs (i32.const 5) (i32.const 16) (i32.const 20)))
  (call $say))

 (func $step (param $letter i32)
  (if (i32.eq (local.get $letter) (i32.const 99)) (then (call $ask (i32.const 99) (i32.const 1024) (i32.const 8) (i32.const 41) (i32.const 2000))))
  (if (i32.eq (local.get $letter) (i32.const 111)) (then (call $ask (i32.const 111) (i32.const 1024) (i32.const 8) (i32.const 0) (i32.const 2000))))
  (if (i32.eq (local.get $letter) (i32.const 116)) (then (call $ask (i32.const 116) (i32.const 1024) (i32.const 8) (i32.const 41) (i32.const 400))))
  (if (i32.eq (local.get $letter) (i32.const 117)) (then (call $ask (i32.const 117) (i32.const 1040) (i32.const 11) (i32.const 41) (i32.const 2000))))
  (if (i32.eq (local.get $letter) (i32.const 110)) (then (call $ask (i32.const 110) (i32.const 1028) (i32.const 4) (i32.const 41) (i32.const 2000))))
  (if (i32.eq (local.get $letter) (i32.const 122)) (then (call $ask (i32.const 122) (i32.const 1072) (i32.const 2) (i32.const 41) (i32.const 2000))))
  (if (i32.eq (local.get $letter) (i32.const 121)) (then (call $ask (i32.const 121) (i32.const 1072) (i32.const 0) (i32.const 41) (i32.const 2000))))
  (if (i32.eq (local.get $letter) (i32.const 97)) (then (call $ask (i32.const 97) (i32.const 1088) (i32.const 47) (i32.const 41) (i32.const 2000))))
  (if (i32.eq (local.get $letter) (i32.const 104)) (then (call $ask (i32.const 104) (i32.const 1056) (i32.const 8) (i32.const 41) (i32.const 2000))))
  (if (i32.eq (local.get $letter) (i32.const 115)) (then (call $open (i32.const 115) (i32.const 1024) (i32.const 8))))
  (if (i32.eq (local.get $letter) (i32.const 119)) (then (call $open (i32.const 119) (i32.const 1040) (i32.const 11))))
  (if (i32.eq (local.get $letter) (i32.const 109)) (then
   (call $put (i32.const 109))
   (call $number (call $grpc_send (global.get $stream) (i32.const 1248) (i32.const 4) (i32.const 0)))
   (call $say)))
  (if (i32.eq (local.get $letter) (i32.const 101)) (then
   (call $put (i32.const 101))
   (call $number (call $grpc_send (global.get $stream) (i32.const 1248) (i32.const 4) (i32.const 1)))
   (call $say)))
  (if (i32.eq (local.get $letter) (i32.const 107)) (then
   (call $put (i32.const 107))
   (call $number (call $grpc_cancel (global.get $stream)))
   (call $say)))
  (if (i32.eq (local.get $letter) (i32.const 120)) (then
   (call $put (i32.const 120))
   (call $number (call $grpc_close (global.get $stream)))
   (call $say)))
  (if (i32.eq (local.get $letter) (i32.const 106)) (then
   (call $three (i32.const 106) (i32.const 1001))
   (call $three (i32.const 106) (i32.const 1002))))
  (if (i32.eq (local.get $letter) (i32.const 113)) (then (call $three (i32.const 113) (global.get $call))))
  (if (i32.eq (local.get $letter) (i32.const 118)) (then (call $view)))
  (if (i32.eq (local.get $letter) (i32.const 112)) (then (global.set $paused (i32.const 1)))))

 (func (export "proxy_on_request_headers") (param $id i32) (param i32 i32) (result i32) (local $at i32) (local $end i32) (local $byte i32)
  (drop (call $value (i32.const 0) (i32.const 1264) (i32.const 5) (i32.const 16) (i32.const 20)))
  (memory.copy (i32.const 8192) (i32.load (i32.const 16)) (i32.load (i32.const 20)))
  (local.set $at (i32.const 8193))
  (local.set $end (i32.add (i32.const 8192) (i32.load (i32.const 20))))
  (global.set $context (local.get $id))
  (global.set $paused (i32.const 0))
  (global.set $at (i32.const 0))
  (global.set $end (i32.const 0))
  (block $done
   (loop $next
    (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
    (local.set $byte (i32.load8_u (local.get $at)))
    (local.set $at (i32.add (local.get $at) (i32.const 1)))
    (if (i32.eq (local.get $byte) (i32.const 33)) (then
     (global.set $at (local.get $at))
     (global.set $end (local.get $end))
     (br $done)))
    (call $step (local.get $byte))
    (br $next)))
  (global.get $paused))

 ;; The next step that is to be done inside a callback.
 (func $inside
  (if (i32.lt_u (global.get $at) (global.get $end)) (then
   (global.set $at (i32.add (global.get $at) (i32.const 1)))
   (call $step (i32.load8_u (i32.sub (global.get $at) (i32.const 1)))))))
 (func $resume
  (if (global.get $paused) (then
   (global.set $paused (i32.const 0))
   (drop (call $effective (global.get $context)))
   (drop (call $continue (i32.const 0))))))
 ;; Callback: letter, whether it is the root's, token, number.
 (func $came (param $letter i32) (param $id i32) (param $token i32) (param $number i32)
  (call $put (local.get $letter))
  (call $number (i32.ne (local.get $id) (global.get $context)))
  (call $number (local.get $token))
  (call $number (local.get $number)))
 (func $map (param $map i32) (local $count i32) (local $at i32) (local $sizes i32) (local $n i32) (local $m i32)
  (call $number (call $value (local.get $map) (i32.const 1280) (i32.const 8) (i32.const 16) (i32.const 20)))
  (call $number (call $pairs (local.get $map) (i32.const 16) (i32.const 20)))
  (if (i32.eqz (i32.load (i32.const 20))) (then (return)))
  (local.set $count (i32.load (i32.load (i32.const 16))))
  (local.set $sizes (i32.add (i32.load (i32.const 16)) (i32.const 4)))
  (local.set $at (i32.add (local.get $sizes) (i32.mul (local.get $count) (i32.const 8))))
  (block $done
   (loop $next
    (br_if $done (i32.eqz (local.get $count)))
    (local.set $n (i32.load (local.get $sizes)))
    (call $text (local.get $at) (local.get $n))
    (local.set $at (i32.add (local.get $at) (i32.add (local.get $n) (i32.const 1))))
    (call $put (i32.const 61))
    (local.set $m (i32.load (i32.add (local.get $sizes) (i32.const 4))))
    ;; x-envoy-upstream-service-time is the only line with a name of 29 letters: how long it took is left out.
    (if (i32.ne (local.get $n) (i32.const 29)) (then
     (memory.copy (global.get $line) (local.get $at) (local.get $m))
     (global.set $line (i32.add (global.get $line) (local.get $m)))))
    (local.set $at (i32.add (local.get $at) (i32.add (local.get $m) (i32.const 1))))
    (local.set $sizes (i32.add (local.get $sizes) (i32.const 8)))
    (local.set $count (i32.sub (local.get $count) (i32.const 1)))
    (br $next))))
 (func (export "proxy_on_grpc_receive_initial_metadata") (param $id i32) (param $token i32) (param $count i32)
  (call $came (i32.const 73) (local.get $id) (local.get $token) (local.get $count))
  (call $map (i32.const 4))
  (call $say)
  (call $inside))
 (func (export "proxy_on_grpc_receive") (param $id i32) (param $token i32) (param $size i32)
  (call $came (i32.const 82) (local.get $id) (local.get $token) (local.get $size))
  (call $number (call $buffer (i32.const 5) (i32.const 0) (i32.const 1000) (i32.const 16) (i32.const 20)))
  (call $quoted (i32.load (i32.const 16)) (i32.load (i32.const 20)))
  (call $say)
  (call $inside)
  (if (i32.and (local.get $token) (i32.const 1)) (then (call $resume))))
 (func (export "proxy_on_grpc_receive_trailing_metadata") (param $id i32) (param $token i32) (param $count i32)
  (call $came (i32.const 84) (local.get $id) (local.get $token) (local.get $count))
  (call $map (i32.const 5))
  (call $say)
  (call $inside))
 (func (export "proxy_on_grpc_close") (param $id i32) (param $token i32) (param $status i32)
  (call $came (i32.const 67) (local.get $id) (local.get $token) (local.get $status))
  (call $number (call $status (i32.const 28) (i32.const 16) (i32.const 20)))
  (call $number (i32.load (i32.const 28)))
  (call $quoted (i32.load (i32.const 16)) (i32.load (i32.const 20)))
  (call $say)
  (call $inside)
  (call $resume))
)
