/**
 * Waits for the end of the process that started it, however that comes about, and removes what is left then: processes in the
 * namespaces, the namespaces, the bridge, the disk, and what libfaketime keeps in memory. Deaf to the signals of a terminal, which go to it as well.
 */
const script = `
trap '' INT TERM HUP
cat > /dev/null
bridge=$1; disk=$2; folder=$3; shift 3
for namespace in "$@"; do
  ip netns pids "$namespace" | xargs -r kill -9
  ip link del "$namespace"
  ip netns del "$namespace"
done
ip link del "$bridge"
for pid in $(cat "$folder/pids"); do
  rm -f "/dev/shm/faketime_shm_$pid" "/dev/shm/sem.faketime_sem_$pid"
done
rm -rf "$folder"
[ -n "$disk" ] && umount -l "$disk" && rmdir "$disk"
`;

/** In the folder of a stage: the ids of all processes that it has started, one a line. */
export const pidsFile = "pids";

export interface Remains {
  /** Of the stage: removed with all that is in it. */
  readonly folder: string;
  readonly bridge: string;
  /** A folder on which a file system is mounted; empty where there is none. */
  readonly disk: string;
  readonly namespaces: readonly string[];
}

/** The result sends it away, once there is nothing left to remove. */
export function startJanitor({ bridge, disk, folder, namespaces }: Remains): () => Promise<void> {
  const janitor = Bun.spawn(["sh", "-c", script, "janitor", bridge, disk, folder, ...namespaces], {
    stdio: ["pipe", "ignore", "ignore"],
  });
  janitor.unref();
  return async () => {
    janitor.kill("SIGKILL");
    await janitor.exited;
  };
}
