# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_sealcast_global_optspecs
    string join \n q/quiet v/verbose progress= h/help V/version
end

function __fish_sealcast_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_sealcast_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_sealcast_using_subcommand
    set -l cmd (__fish_sealcast_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c sealcast -n "__fish_sealcast_needs_command" -l progress -d 'When to show on standard error how far it is, and what is waited for' -r -f -a "auto\t'Only when standard error is a terminal'
always\t'Also into a file'
never\t'Never, nor what is waited for'"
complete -c sealcast -n "__fish_sealcast_needs_command" -s q -l quiet -d 'Write only errors to standard error'
complete -c sealcast -n "__fish_sealcast_needs_command" -s v -l verbose -d 'Say more; `cast` and `catch` say even more when it is given twice'
complete -c sealcast -n "__fish_sealcast_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sealcast -n "__fish_sealcast_needs_command" -s V -l version -d 'Print version'
complete -c sealcast -n "__fish_sealcast_needs_command" -f -a "pack" -d 'Stream a tree as a compressed archive'
complete -c sealcast -n "__fish_sealcast_needs_command" -f -a "seal" -d 'Encrypt to many recipients and sign'
complete -c sealcast -n "__fish_sealcast_needs_command" -f -a "cast" -d 'Send standard input to every receiver at once, by reliable UDP multicast'
complete -c sealcast -n "__fish_sealcast_needs_command" -f -a "catch" -d 'Receive what a sender casts, and write it to standard output or a command'
complete -c sealcast -n "__fish_sealcast_needs_command" -f -a "open" -d 'Check the sender, decrypt'
complete -c sealcast -n "__fish_sealcast_needs_command" -f -a "unpack" -d 'Restore a tree from an archive'
complete -c sealcast -n "__fish_sealcast_needs_command" -f -a "keygen" -d 'Make keys, and show their public halves'
complete -c sealcast -n "__fish_sealcast_needs_command" -f -a "selftest" -d 'Test the whole pipeline on this machine'
complete -c sealcast -n "__fish_sealcast_using_subcommand pack" -l image -d 'Pack the block device or disk image SOURCE instead of a tree' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand pack" -s T -l files-from -d 'Pack the paths in FILE as well, one a line; may be given several times' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand pack" -s C -l directory -d 'Go into DIR first: relative paths begin there' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand pack" -s o -l output -d 'Write to FILE, which appears when it is complete, instead of standard output' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand pack" -l exclude -d 'Leave out what GLOB matches, with everything below it; may be given several times' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand pack" -l exclude-from -d 'Leave out what the patterns in FILE match, one a line; may be given several times' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand pack" -l xattrs-include -d 'Keep only extended attributes whose names match GLOB; may be given several times' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand pack" -l xattrs-exclude -d 'Leave out extended attributes whose names match GLOB; may be given several times' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand pack" -l clamp-mtime -d 'Pack times of modification later than SECONDS since 1970 as that time' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand pack" -l level -d 'Compress at level N, from 1 (fast) to 19 (small)' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand pack" -l rate -d 'Compress as hard as a network of RATE leaves time for, such as 100M or 1G' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand pack" -l threads -d 'Compress on N threads; the default is the number of processors' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand pack" -l progress -d 'When to show on standard error how far it is, and what is waited for' -r -f -a "auto\t'Only when standard error is a terminal'
always\t'Also into a file'
never\t'Never, nor what is waited for'"
complete -c sealcast -n "__fish_sealcast_using_subcommand pack" -s 0 -l null -d 'Names in the files of -T end in a zero byte, not a newline, as `find -print0` writes them'
complete -c sealcast -n "__fish_sealcast_using_subcommand pack" -l one-file-system -d 'Stay on the file system of each PATH; mount points are packed as empty directories'
complete -c sealcast -n "__fish_sealcast_using_subcommand pack" -s L -l dereference -d 'Pack what symbolic links lead to in place of the links'
complete -c sealcast -n "__fish_sealcast_using_subcommand pack" -l numeric-owner -d 'Leave the names of owners and groups out; their numbers are always there'
complete -c sealcast -n "__fish_sealcast_using_subcommand pack" -l long -d 'Compress in frames of 64 MiB, not 16, and find repetitions all over them'
complete -c sealcast -n "__fish_sealcast_using_subcommand pack" -l adapt -d 'Compress as hard as the output leaves time for, frame by frame'
complete -c sealcast -n "__fish_sealcast_using_subcommand pack" -l strict -d 'Stop at the first object that cannot be packed as it is'
complete -c sealcast -n "__fish_sealcast_using_subcommand pack" -s q -l quiet -d 'Write only errors to standard error'
complete -c sealcast -n "__fish_sealcast_using_subcommand pack" -s v -l verbose -d 'Say more; `cast` and `catch` say even more when it is given twice'
complete -c sealcast -n "__fish_sealcast_using_subcommand pack" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sealcast -n "__fish_sealcast_using_subcommand seal" -s r -l recipient -d 'Seal for RECIPIENT: `age1…`, `age1pq1…` or `ssh-ed25519 AAAA…`. Can be given many times' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand seal" -s R -l recipients-file -d 'Seal for all recipients in FILE. Can be given many times' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand seal" -l passphrase-file -d 'Take passphrases from the first line of FILE, not from the terminal' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand seal" -l max-work-factor -d 'Refuse what is encrypted with a passphrase and a work factor above N' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand seal" -s s -l sign -d 'Sign with the secret key in KEYFILE' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand seal" -l label -d 'Say what the stream is for; receivers can insist on it with `open --label`' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand seal" -l serial -d 'Number the stream; receivers can insist on a least number with `open --min-serial`' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand seal" -s o -l output -d 'Write to FILE, which appears only when it is complete' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand seal" -l progress -d 'When to show on standard error how far it is, and what is waited for' -r -f -a "auto\t'Only when standard error is a terminal'
always\t'Also into a file'
never\t'Never, nor what is waited for'"
complete -c sealcast -n "__fish_sealcast_using_subcommand seal" -s p -l passphrase -d 'Seal with a passphrase in place of recipients'
complete -c sealcast -n "__fish_sealcast_using_subcommand seal" -l unsigned -d 'Do not sign, and do not warn about it'
complete -c sealcast -n "__fish_sealcast_using_subcommand seal" -s a -l armor -d 'Write armor: text in place of binary data, a third longer'
complete -c sealcast -n "__fish_sealcast_using_subcommand seal" -s q -l quiet -d 'Write only errors to standard error'
complete -c sealcast -n "__fish_sealcast_using_subcommand seal" -s v -l verbose -d 'Say more; `cast` and `catch` say even more when it is given twice'
complete -c sealcast -n "__fish_sealcast_using_subcommand seal" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -s I -l interface -d 'Use this network interface; without it the routes of the system decide' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l group -d 'Use this multicast group of IPv4 or IPv6 [default: 239.255.83.67, with -6 ff15::5343]' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l port -d 'Send to, or hear on, this UDP port [default: 8367]' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -s n -l receivers -d 'Start as soon as N receivers have joined' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l expect -d 'Start as soon as the receivers with these names have joined; @FILE has one a line' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l settle -d 'Without --receivers and --expect, start this long after the last receiver joined' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l min-wait -d 'Do not start before this time has passed since the first receiver joined [default: 0]' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l max-wait -d 'Start at the latest this long after the first receiver joined' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l start-timeout -d 'Give up when the session has not started after this time; 0 means no limit' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l require -d 'End with status 0 if this many receivers have everything: all, a number, or a share' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l silence-timeout -d 'Drop a receiver that was silent for this time' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l stall-timeout -d 'Drop a receiver that makes all others wait for this time; 0 means no limit' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l finish-timeout -d 'Drop a receiver that has everything, but whose consumer has not ended after this time' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l slow -d 'What to do about receivers that are too slow' -r -f -a "wait\t'The slowest receiver sets the pace of all, and only --stall-timeout limits that'
evict\t'The sender drops receivers that are too slow'
later\t'Receivers that are too slow get the rest in the next pass'"
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l min-rate -d 'Evict receivers that keep the stream below BITS a second; units are k, M and G' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l slow-grace -d 'How long a receiver may keep the stream below --min-rate [default: 3s]' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l late -d 'What to do about receivers that come too late' -r -f -a "next\t'They are served in another pass over the input'
refuse\t'They are refused'"
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -s r -l rate -d 'Send at most BITS a second, headers included; units are k, M and G' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l redundancy -d 'With --one-way, send this share of parity, in per cent of the data, at most 1000' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l memory -d 'Keep up to BYTES of the stream for repairs; units are K, M and G' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l name -d 'Call the session NAME, at most 64 bytes, so that receivers can choose it' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l to -d 'Send to one receiver, HOST or HOST:PORT, instead of a multicast group' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l answer-port -d 'Hear answers of receivers on this UDP port; 0 is any [default: the one after --port]' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l mtu -d 'Fill datagrams of BYTES, the MTU of the path to all receivers' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l ttl -d 'Let datagrams pass HOPS - 1 routers [default: 1, with --to 64]' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -s s -l sign -d 'Sign with the secret key in KEYFILE' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -s R -l recipients-file -d 'Admit only receivers that hold a key of the recipients in FILE. Can be given many times' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l key -d 'Take part only with machines that have the same secret in FILE' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l passphrase-file -d 'Take passphrases from the first line of FILE, not from the terminal' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l max-work-factor -d 'Refuse what is encrypted with a passphrase and a work factor above N' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l report -d 'Append a report to FILE: one JSON object a line for each event. FILE cannot be `-`' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l progress -d 'When to show on standard error how far it is, and what is waited for' -r -f -a "auto\t'Only when standard error is a terminal'
always\t'Also into a file'
never\t'Never, nor what is waited for'"
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -s 6 -l ipv6 -d 'Use IPv6'
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l repeat -d 'When all have the stream, wait for receivers again, until a signal comes'
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l one-way -d 'Send at --rate to receivers that do not answer'
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -l broadcast -d 'Send to all hosts on the interface\'s IPv4 network, instead of a multicast group'
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -s p -l passphrase -d 'Ask for the common secret on the terminal'
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -s q -l quiet -d 'Write only errors to standard error'
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -s v -l verbose -d 'Say more; `cast` and `catch` say even more when it is given twice'
complete -c sealcast -n "__fish_sealcast_using_subcommand cast" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sealcast -n "__fish_sealcast_using_subcommand catch" -s I -l interface -d 'Use this network interface; without it the routes of the system decide' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand catch" -l group -d 'Use this multicast group of IPv4 or IPv6 [default: 239.255.83.67, with -6 ff15::5343]' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand catch" -l port -d 'Send to, or hear on, this UDP port [default: 8367]' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand catch" -l name -d 'Join only the session called NAME, at most 64 bytes' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand catch" -l as -d 'Call this receiver NAME, 1 to 64 bytes, instead of the host\'s name' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand catch" -s f -l from -d 'Believe only SENDER: a public key, or a file of them. Can be given many times' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand catch" -s i -l identity -d 'Prove to the sender that this machine holds an identity in FILE. Can be given many times' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand catch" -l key -d 'Take part only with machines that have the same secret in FILE' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand catch" -l passphrase-file -d 'Take passphrases from the first line of FILE, not from the terminal' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand catch" -l max-work-factor -d 'Refuse what is encrypted with a passphrase and a work factor above N' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand catch" -l start-timeout -d 'Give up when no session has admitted this receiver after this time; 0 means no limit' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand catch" -l silence-timeout -d 'Give up when the sender was silent for this time' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand catch" -l memory -d 'Keep up to BYTES that wait for missing data or for the consumer; units are K, M and G' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand catch" -s o -l output -d 'Write to FILE, which appears only when the stream is complete' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand catch" -l report -d 'Append a report to FILE: one JSON object a line for each event. FILE cannot be `-`' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand catch" -l test-loss -d 'Drop this share of the datagrams that arrive, to test the repair' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand catch" -l progress -d 'When to show on standard error how far it is, and what is waited for' -r -f -a "auto\t'Only when standard error is a terminal'
always\t'Also into a file'
never\t'Never, nor what is waited for'"
complete -c sealcast -n "__fish_sealcast_using_subcommand catch" -s 6 -l ipv6 -d 'Use IPv6'
complete -c sealcast -n "__fish_sealcast_using_subcommand catch" -s p -l passphrase -d 'Ask for the common secret on the terminal'
complete -c sealcast -n "__fish_sealcast_using_subcommand catch" -l one-way -d 'Send nothing, and join only sessions of `cast --one-way`'
complete -c sealcast -n "__fish_sealcast_using_subcommand catch" -s q -l quiet -d 'Write only errors to standard error'
complete -c sealcast -n "__fish_sealcast_using_subcommand catch" -s v -l verbose -d 'Say more; `cast` and `catch` say even more when it is given twice'
complete -c sealcast -n "__fish_sealcast_using_subcommand catch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sealcast -n "__fish_sealcast_using_subcommand open" -s i -l identity -d 'Open with the identities in FILE. Can be given many times' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand open" -l passphrase-file -d 'Take passphrases from the first line of FILE, not from the terminal' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand open" -l max-work-factor -d 'Refuse what is encrypted with a passphrase and a work factor above N' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand open" -l inner -d 'Check a payload that another program has decrypted from SEALED' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand open" -s f -l from -d 'Accept streams signed by SENDER: a public key, or a file of them. Can be given many times' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand open" -l label -d 'Insist on the label TEXT' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand open" -l max-age -d 'Refuse streams sealed longer than DURATION ago, such as 90s, 15m, 12h, 7d or 2w' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand open" -l min-serial -d 'Refuse streams with a serial number below N' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand open" -l max-header -d 'Read headers of up to BYTES, such as 64K or 8M' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand open" -s o -l output -d 'Write to FILE, which appears only when all of the stream was accepted' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand open" -l progress -d 'When to show on standard error how far it is, and what is waited for' -r -f -a "auto\t'Only when standard error is a terminal'
always\t'Also into a file'
never\t'Never, nor what is waited for'"
complete -c sealcast -n "__fish_sealcast_using_subcommand open" -s p -l passphrase -d 'Open a stream that is sealed with a passphrase'
complete -c sealcast -n "__fish_sealcast_using_subcommand open" -l unsigned -d 'Accept streams without a signature, from any sender'
complete -c sealcast -n "__fish_sealcast_using_subcommand open" -s q -l quiet -d 'Write only errors to standard error'
complete -c sealcast -n "__fish_sealcast_using_subcommand open" -s v -l verbose -d 'Say more; `cast` and `catch` say even more when it is given twice'
complete -c sealcast -n "__fish_sealcast_using_subcommand open" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sealcast -n "__fish_sealcast_using_subcommand unpack" -s C -l directory -d 'The directory that will hold the tree; it is made if it is not there' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand unpack" -l image -d 'Restore a disk image to TARGET, a block device or the name of a file, instead of a tree' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand unpack" -l map-owner -d 'Restore owner and group FROM of the archive as TO; may be given several times' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand unpack" -l xattrs-include -d 'Keep only extended attributes whose names match GLOB; may be given several times' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand unpack" -l xattrs-exclude -d 'Leave out extended attributes whose names match GLOB; may be given several times' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand unpack" -l max-bytes -d 'Refuse an archive with more than BYTES of file content, holes not counted; units are K, M, G and T' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand unpack" -l max-entries -d 'Refuse an archive with more than N entries' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand unpack" -l max-memory -d 'Refuse an archive whose entries take more than BYTES of memory; units are K, M, G and T' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand unpack" -l progress -d 'When to show on standard error how far it is, and what is waited for' -r -f -a "auto\t'Only when standard error is a terminal'
always\t'Also into a file'
never\t'Never, nor what is waited for'"
complete -c sealcast -n "__fish_sealcast_using_subcommand unpack" -l replace -d 'Replace what DIR holds; it is removed when the new tree is complete'
complete -c sealcast -n "__fish_sealcast_using_subcommand unpack" -l merge -d 'Add the tree to what DIR holds; files of the same names are replaced'
complete -c sealcast -n "__fish_sealcast_using_subcommand unpack" -l keep-partial -d 'Keep the incomplete tree or file when something goes wrong, and say where it is'
complete -c sealcast -n "__fish_sealcast_using_subcommand unpack" -l no-same-owner -d 'Make everything belong to this user and group, also for root'
complete -c sealcast -n "__fish_sealcast_using_subcommand unpack" -l no-devices -d 'Leave device nodes out'
complete -c sealcast -n "__fish_sealcast_using_subcommand unpack" -l no-setuid -d 'Leave set-user-id and set-group-id bits and file capabilities out'
complete -c sealcast -n "__fish_sealcast_using_subcommand unpack" -l no-xattrs -d 'Leave extended attributes out, and with them access lists, capabilities and labels'
complete -c sealcast -n "__fish_sealcast_using_subcommand unpack" -l no-sync -d 'Do not wait until the tree is on the disk'
complete -c sealcast -n "__fish_sealcast_using_subcommand unpack" -s q -l quiet -d 'Write only errors to standard error'
complete -c sealcast -n "__fish_sealcast_using_subcommand unpack" -s v -l verbose -d 'Say more; `cast` and `catch` say even more when it is given twice'
complete -c sealcast -n "__fish_sealcast_using_subcommand unpack" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sealcast -n "__fish_sealcast_using_subcommand keygen" -l passphrase-file -d 'Take passphrases from the first line of FILE, not from the terminal' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand keygen" -l max-work-factor -d 'Refuse what is encrypted with a passphrase and a work factor above N' -r
complete -c sealcast -n "__fish_sealcast_using_subcommand keygen" -s o -l output -d 'Write the secret key to FILE, and the public half to standard output' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand keygen" -s y -l public -d 'Print the public half of every key in FILE' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand keygen" -s l -l list -d 'List the keys in FILE with their fingerprints, one a line' -r -F
complete -c sealcast -n "__fish_sealcast_using_subcommand keygen" -l progress -d 'When to show on standard error how far it is, and what is waited for' -r -f -a "auto\t'Only when standard error is a terminal'
always\t'Also into a file'
never\t'Never, nor what is waited for'"
complete -c sealcast -n "__fish_sealcast_using_subcommand keygen" -s s -l sign -d 'Make a signing key for a sender, not an identity for a receiver'
complete -c sealcast -n "__fish_sealcast_using_subcommand keygen" -l pq -d 'Make an identity that withstands quantum computers as well'
complete -c sealcast -n "__fish_sealcast_using_subcommand keygen" -s p -l passphrase -d 'Encrypt the key with a passphrase, which is asked for twice'
complete -c sealcast -n "__fish_sealcast_using_subcommand keygen" -s q -l quiet -d 'Write only errors to standard error'
complete -c sealcast -n "__fish_sealcast_using_subcommand keygen" -s v -l verbose -d 'Say more; `cast` and `catch` say even more when it is given twice'
complete -c sealcast -n "__fish_sealcast_using_subcommand keygen" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sealcast -n "__fish_sealcast_using_subcommand selftest" -l progress -d 'When to show on standard error how far it is, and what is waited for' -r -f -a "auto\t'Only when standard error is a terminal'
always\t'Also into a file'
never\t'Never, nor what is waited for'"
complete -c sealcast -n "__fish_sealcast_using_subcommand selftest" -s q -l quiet -d 'Write only errors to standard error'
complete -c sealcast -n "__fish_sealcast_using_subcommand selftest" -s v -l verbose -d 'Say more; `cast` and `catch` say even more when it is given twice'
complete -c sealcast -n "__fish_sealcast_using_subcommand selftest" -s h -l help -d 'Print help (see more with \'--help\')'
