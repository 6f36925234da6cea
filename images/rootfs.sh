#!/bin/sh
# Makes the Debian root file systems of our images as tar archives, from Debian packages alone.
#
#   sh rootfs.sh --sources [/etc/apt]    prints the apt sources it takes
#   sh rootfs.sh OUT    writes OUT/base.tar (a whole root) and OUT/postgres.tar, OUT/redis.tar (layers to put on it)
#
# Needs root on Debian (or a Debian container), apt-get update done, and the packages mmdebstrap and debian-archive-keyring.
# It is plain sh with no inputs but the machine's apt sources, so that the same text runs on the host and, where the host
# is not Debian, in a container.
#
# Why layers are unpacked instead of installed: the servers' Debian packages bring Perl, a cluster manager and 100 MB of
# LLVM that a container has no use for. Their maintainer scripts only set up that cluster manager.
set -eu

# The release whose Python (3.11), PostgreSQL (15) and Redis (7.0) the images are written for.
suite=bookworm

# Prints the sources below $1 (the folder /etc/apt) for release $2, whichever mirror they name: exactly the Debian archive's
# suites, main only. Other repositories that may be configured (Docker's, PostgreSQL's own) are left out by their suites.
sources_for() {
	cat "$1/sources.list" "$1"/sources.list.d/*.list 2> /dev/null |
		grep -E "^[[:space:]]*deb[[:space:]].*[[:space:]]$2(-updates|-security)?[[:space:]]+main([[:space:]]|\$)" || true
	for file in "$1"/sources.list.d/*.sources; do
		[ -e "$file" ] || continue
		# deb822 stanzas: one line for every pair of URI and suite.
		awk -v suite="$2" '
			function flush(   i, j, uris, suites, option) {
				if (types ~ /(^| )deb( |$)/ && components ~ /(^| )main( |$)/ && enabled != "no") {
					# A key that stands in the file itself is the mirror of a repository of its own.
					option = signed ~ /^\// ? "[signed-by=" signed "] " : ""
					for (i = 1; i <= split(uri, uris, " "); i++) for (j = 1; j <= split(names, suites, " "); j++)
						if (suites[j] == suite || suites[j] == suite "-updates" || suites[j] == suite "-security")
							print "deb " option uris[i] " " suites[j] " main"
				}
				types = uri = names = components = signed = ""; enabled = "yes"
			}
			BEGIN { enabled = "yes" }
			/^[[:space:]]*$/ { flush(); next }
			/^#/ { next }
			{ key = tolower($1); value = $0; sub(/^[^:]*:[[:space:]]*/, "", value) }
			key == "types:" { types = value }
			key == "uris:" { uri = value }
			key == "suites:" { names = value }
			key == "components:" { components = value }
			key == "signed-by:" { signed = value }
			key == "enabled:" { enabled = tolower(value) }
			END { flush() }
		' "$file"
	done
}

# Prints the sources to use: those for our suite, else those of the machine's own Debian release, whose mirror has ours too.
sources() {
	found=$(sources_for "$1" "$suite")
	if [ -z "$found" ] && grep -q '^ID=debian$' "$1/../os-release"; then
		release=$(sed -n 's/^VERSION_CODENAME=//p' "$1/../os-release")
		found=$(sources_for "$1" "$release" | sed "s/ $release\([ -]\)/ $suite\1/")
	fi
	[ -z "$found" ] || printf '%s\n' "$found"
}

if [ "${1:-}" = --sources ]; then
	sources "${2:-/etc/apt}"
	exit
fi

out=${1:?usage: rootfs.sh OUT | --sources [/etc/apt]}
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d "$out/.rootfs.XXXXXX")
chmod 755 "$work" # apt downloads as a user of its own
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

root=$work/root
say() { printf 'rootfs: %s\n' "$*"; }

# Nothing of these is read at run time. perl-base and dpkg's own tools are for maintainer scripts, all of which have run by
# then; the package database itself stays, because scanners read it. gconv: character sets other than UTF-8. llvmjit:
# without it PostgreSQL compiles no queries, with it but without LLVM it fails.
cat > "$work/unused" <<'EOF'
./boot
./dev/*
./proc/*
./run/*
./sys/*
./tmp/*
./etc/apt
./etc/debconf.conf
./etc/dpkg/dpkg.cfg.d
./etc/hostname
./etc/resolv.conf
./usr/bin/dpkg*
./usr/bin/perl*
./usr/lib/*-linux-gnu/gconv
./usr/lib/*-linux-gnu/perl*
./usr/lib/apt
./usr/lib/dpkg
./usr/lib/postgresql/*/lib/bitcode
./usr/lib/postgresql/*/lib/llvmjit*
./usr/lib/systemd
./usr/lib/udev
./usr/share/bash-completion
./usr/share/bug
./usr/share/debconf
./usr/share/doc
./usr/share/doc-base
./usr/share/info
./usr/share/lintian
./usr/share/locale
./usr/share/man
./usr/share/perl*
./usr/share/pixmaps
./usr/share/postgresql/*/man
./var/cache/*
./var/lib/apt
./var/lib/dpkg/info/*.md5sums
./var/lib/dpkg/*-old
./var/log/*
EOF

# Packs the folder $1 as $2, the same bytes for the same packages.
pack() {
	tar --create --file "$2.part" --directory "$1" --sort=name --numeric-owner --one-file-system --format=posix \
		--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime \
		--mtime="@$SOURCE_DATE_EPOCH" --clamp-mtime --exclude-from="$work/unused" --anchored --no-wildcards-match-slash .
	mv "$2.part" "$2"
	say "${2##*/}: $(du -m "$2" | cut -f1) MB"
}

sources /etc/apt > "$work/sources.list"
if [ ! -s "$work/sources.list" ]; then
	say "no apt source of this machine names $suite: taking mmdebstrap's default mirror for it"
fi
# apt in the new root reads none of this machine's configuration; its proxies are needed there all the same.
apt-config dump | grep -E '^Acquire::https?::Proxy' > "$work/proxies" || true

# The tools write to standard error for the most part; all of it is progress here.
exec 2>&1

# Unpacks a layer's packages: layer NAME "PACKAGES TAKEN ALONE" "LIBRARIES TAKEN WITH WHAT THEY DEPEND ON".
# Written out as a program because mmdebstrap calls it while apt still knows the new root's sources.
cat > "$work/layers" <<'EOF'
#!/bin/sh
set -eu
root=$1
layer() {
	debs=$WORK/$1.debs tree=$WORK/$1
	mkdir -p "$debs/partial" "$tree/var/lib/dpkg/status.d"
	# shellcheck disable=SC2086 # lists of names
	APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get -qq install --yes --download-only --option Dir::Cache::archives="$debs" $3
	# shellcheck disable=SC2086
	(cd "$debs" && APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get -qq download $2)
	for directory in bin lib lib64 sbin; do
		[ ! -L "$root/$directory" ] || cp -P "$root/$directory" "$tree/$directory"
	done
	mkdir -p "$tree/usr/bin" "$tree/usr/lib" "$tree/usr/lib64" "$tree/usr/sbin"
	for deb in "$debs"/*.deb; do
		dpkg-deb --fsys-tarfile "$deb" | tar --extract --directory "$tree" --keep-directory-symlink --preserve-permissions
		# The place where scanners look for packages that were unpacked, not installed.
		dpkg-deb --field "$deb" > "$tree/var/lib/dpkg/status.d/$(dpkg-deb --field "$deb" Package)"
	done
	rm -f "$tree/bin" "$tree/lib" "$tree/lib64" "$tree/sbin"
	rmdir --ignore-fail-on-non-empty "$tree/usr/bin" "$tree/usr/lib" "$tree/usr/lib64" "$tree/usr/sbin"
}
layer postgres "postgresql-15 postgresql-client-15" "libgssapi-krb5-2 libicu72 libldap-2.5-0 liblz4-1 libpam0g libpq5 \
libreadline8 libselinux1 libssl3 libstdc++6 libsystemd0 libuuid1 libxml2 libxslt1.1 libzstd1 tzdata zlib1g"
layer redis "redis-server redis-tools" "libatomic1 libjemalloc2 liblzf1 libssl3 libsystemd0"
EOF
chmod 755 "$work/layers"
export WORK="$work"

say "base: Debian $suite with Python, OpenSSL and busybox"
# The hook is mmdebstrap's own: the package that would merge /usr otherwise (usrmerge) brings all of Perl.
set -- --variant=essential --skip=cleanup/apt/lists --format=directory \
	--include=ca-certificates,openssl,python3,busybox,libstdc++6 \
	--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
	--customize-hook="$work/layers" --aptopt='APT::Sandbox::User "root"' --dpkgopt=force-unsafe-io \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
	--aptopt="$work/proxies" "$suite" "$root"
[ ! -s "$work/sources.list" ] || set -- "$@" "$work/sources.list"
mmdebstrap "$@"

# What the archive says its own date is: later than every file in its packages, and the same for the same packages.
SOURCE_DATE_EPOCH=$(sed -n 's/^Date: //p' "$root"/var/lib/apt/lists/*Release | while read -r date; do date --date "$date" +%s; done | sort -n | tail -n 1)
export SOURCE_DATE_EPOCH

# busybox gives the health checks and people in a shell what the essential packages lack.
for applet in ip less nc netstat ping ps vi wget; do
	[ -e "$root/usr/bin/$applet" ] || ln -s busybox "$root/usr/bin/$applet"
done
for name in base postgres redis; do
	case $name in base) tree=$root ;; *) tree=$work/$name ;; esac
	pack "$tree" "$out/$name.tar"
done
