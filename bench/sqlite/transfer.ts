/** Sends all messages from one file to another one, whose table `work` then has their numbers. */
export type Transfer = (folder: string, count: number, perTransaction: number) => Promise<void>
