import { spawn } from 'node:child_process'

/**
 * Ends a private server and removes its folders when the process that started it has ended, however
 * it ended.
 */
export interface Watchdog extends AsyncDisposable {
  /** A process to be killed then; negative: a whole group. */
  readonly watch: (pid: number) => void
}

export interface Watched {
  /** In their first line stands a process to be killed. They need not exist yet. */
  readonly pidFiles: readonly string[]
  /** What ends such a process at once, with its children. */
  readonly signal: 'KILL' | 'QUIT'
  readonly folders: readonly string[]
}

/**
 * Reads until its input is closed: by the system, when the other process has ended. Several turns,
 * because a server that is just being made may write its files a moment later.
 */
const script = `
pids=
while read -r pid; do
  [ "$pid" = done ] && exit 0
  pids="$pids $pid"
done
signal=$1 count=$2
shift 2
for turn in 1 2 3 4 5 6 7 8; do
  for pid in $pids; do kill -KILL "$pid"; done
  files=$count
  for path in "$@"; do
    if [ "$files" -gt 0 ]; then
      files=$((files - 1))
      [ -f "$path" ] && kill "-$signal" "$(head -n 1 "$path")"
    else
      rm -rf -- "$path"
    fi
  done
  sleep 0.5
done`

/**
 * In a session of its own, so that no signal to the group of this process reaches it. It is a
 * shell, so it costs next to nothing.
 */
export function watchdog({ pidFiles, signal, folders }: Watched): Watchdog {
  const child = spawn(
    'sh',
    ['-c', script, 'mersal-watchdog', signal, String(pidFiles.length), ...pidFiles, ...folders],
    {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    },
  )
  // It must not keep this process alive, nor end it if somebody kills the watchdog.
  child.unref()
  child.stdin.on('error', () => {})
  ;(child.stdin as unknown as { unref?: () => void }).unref?.()
  return {
    watch: (pid) => void child.stdin.write(`${pid}\n`),
    async [Symbol.asyncDispose]() {
      await new Promise<void>((resolve) => child.stdin.end('done\n', resolve))
    },
  }
}
