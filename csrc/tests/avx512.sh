#!/usr/bin/env bash
# Runs programs on an emulated processor that has AVX-512: Bochs boots Debian's kernel with nothing but them.
#
#   tests/avx512.sh PROGRAM...      each may bring arguments, as in "build/ulp_avx512_32 --sample"
#
# The kernel comes from apt-get, unless KERNEL names the file of one. ulp's float64 logarithms are of no use here: the
# emulator's own, which they are compared with, is wrong in the last places.
set -euo pipefail

bios=/usr/share/bochs/BIOS-bochs-latest
vga=/usr/share/bochs/VGABIOS-lgpl-latest
loader="/usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32"
if ! type bochs busybox xorriso >/dev/null 2>&1 || ! ls $bios $vga $loader >/dev/null 2>&1; then
    echo "$0: needs Debian's packages bochs bochs-term bochsbios busybox-static xorriso isolinux syslinux-common" >&2
    exit 2
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/iso "$work"/root/{bin,dev,proc}

if [ -z "${KERNEL:-}" ]; then
    package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ {print $2; exit}')
    (cd "$work" && apt-get download -qq -o APT::Sandbox::User=root "$package" && dpkg-deb -x ./*.deb kernel)
    KERNEL=$(ls "$work"/kernel/boot/vmlinuz-*)
fi

cp "$(command -v busybox)" "$work/root/bin/"
{
    cat <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
export GLIBC_TUNABLES=glibc.cpu.hwcaps=-ERMS # emulated, rep stosb goes byte by byte
export LD_BIND_NOW=1 # lazy binding restores registers by XRSTOR, which the emulator refuses now and then
run() { if "$@"; then echo "PASSED $*"; else echo "FAILED $*: $?"; fi; }
for flag in avx512f avx512vl avx512dq avx512bw; do
    /bin/busybox grep -qw $flag /proc/cpuinfo || echo "FAILED $flag: not run, this CPU lacks it"
done
INIT
    for program; do
        read -r file arguments <<<"$program"
        cp "$file" "$work/root/bin/"
        ldd "$file" | grep -o '/[^ ]*' | xargs cp -Lu --parents -t "$work/root"
        echo "run /bin/$(basename "$file") $arguments"
    done
    # The last lines are still on their way when the power goes.
    echo "/bin/busybox sleep 5; /bin/busybox poweroff -f"
} >"$work/root/init"
chmod +x "$work/root/init"
(cd "$work/root" && find . | busybox cpio -o -H newc 2>/dev/null) >"$work/iso/initrd"

cp $loader "$work/iso/"
cp "$KERNEL" "$work/iso/vmlinuz"
# Bochs states the clock of the processor that it imitates and the wrong size for XSAVEC.
cat >"$work/iso/isolinux.cfg" <<'END'
default linux
label linux
 kernel vmlinuz
 append initrd=initrd console=ttyS0 loglevel=0 nokaslr mitigations=off tsc=reliable tsc_early_khz=50000 clearcpuid=xsaves,xsavec
END
xorriso -as mkisofs -quiet -o "$work/boot.iso" -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 \
    -boot-info-table "$work/iso" 2>/dev/null

# rfb is the display that needs no screen.
cat >"$work/bochsrc" <<END
display_library: rfb, options="timeout=0"
cpu: model=corei7_skylake_x, ips=50000000
memory: guest=512, host=512
romimage: file=$bios
vgaromimage: file=$vga
ata0-master: type=cdrom, path=$work/boot.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$work/console
log: $work/log
panic: action=fatal
END
echo continue >"$work/debugger"
touch "$work/console"
timeout "${LIMIT:-7200}" bochs -q -f "$work/bochsrc" -rc "$work/debugger" >"$work/out" 2>&1 </dev/null &
tail -f -n +1 --pid=$! "$work/console"

passed=$(grep -c '^PASSED' "$work/console" || true)
echo "$passed of $# programs passed on an emulated processor with AVX-512"
[ "$passed" = $# ] && ! grep -qE '^FAILED|: not run' "$work/console"
