/* DECISION (project lead): no TLS record layer of our own, no extraction of traffic secrets. "Hand-made
 * TLS" is the fault we reproach others with; a well-kept library beats our own code here. The data
 * plane uses libssl for records: SSL_read/SSL_write over a BIO of our own that (a) collects
 * ciphertext of up to 256 KiB and gives it to the kernel with one send, flushed at the end of each
 * burst of frames, and (b) receives up to 64 KiB with one recv (SSL_CTX_set_read_ahead +
 * SSL_CTX_set_default_read_buffer_len 64 KiB). Measured on this machine so: 1.0 CPU-s/GiB for both
 * ends together and 1,900 MiB/s, against 1.15-1.4 with the plain fd BIO. The removed files are in
 * /tmp/old-record for reference. Please rework conn_*.c to that (a mutex around the SSL as the header says),
 * remove tls_session_keep_secrets and the like from tls.[ch], remove libipsec-mb from Makefile and install-deps,
 * and delete this file. */
#error "read the decision in common/record.h"
