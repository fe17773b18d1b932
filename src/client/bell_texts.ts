/**
 * Everything the bell says, in the languages it ships; each text can be replaced.
 * @module
 */

/** The bell's texts. */
export interface BellTexts {
  title: string;
  /** The button's name. */
  button: (unread: number) => string;
  all: string;
  unread: string;
  archived: string;
  markAll: string;
  markRead: string;
  markUnread: string;
  archive: string;
  unarchive: string;
  older: string;
  loading: string;
  empty: string;
  emptyUnread: string;
  emptyArchived: string;
  failed: string;
  retry: string;
  close: string;
  dismiss: string;
  allow: string;
  /** Said to a screen reader in front of an item that is not read. */
  isUnread: string;
  progress: (percent: number) => string;
  live: string;
  connecting: string;
  waiting: string;
  offline: string;
  closed: string;
}

/** The texts by language. */
export const TEXTS: Record<string, BellTexts> = {
  en: {
    title: "Notifications",
    button: (unread) => unread === 0 ? "Notifications" : `Notifications, ${unread} unread`,
    all: "All",
    unread: "Unread",
    archived: "Archived",
    markAll: "Mark all as read",
    markRead: "Mark as read",
    markUnread: "Mark as unread",
    archive: "Archive",
    unarchive: "Move back",
    older: "Show older",
    loading: "Loading…",
    empty: "Nothing here yet",
    emptyUnread: "All caught up",
    emptyArchived: "Nothing archived",
    failed: "The notifications could not be loaded.",
    retry: "Try again",
    close: "Close",
    dismiss: "Dismiss",
    allow: "Notify me on this device",
    isUnread: "Unread",
    progress: (percent) => `${percent}%`,
    live: "Connected",
    connecting: "Connecting…",
    waiting: "Reconnecting…",
    offline: "Offline",
    closed: "Disconnected",
  },
  ko: {
    title: "알림",
    button: (unread) => unread === 0 ? "알림" : `알림, 읽지 않음 ${unread}개`,
    all: "전체",
    unread: "읽지 않음",
    archived: "보관함",
    markAll: "모두 읽음으로 표시",
    markRead: "읽음으로 표시",
    markUnread: "읽지 않음으로 표시",
    archive: "보관",
    unarchive: "보관 해제",
    older: "이전 알림 보기",
    loading: "불러오는 중…",
    empty: "아직 알림이 없습니다",
    emptyUnread: "모두 확인했습니다",
    emptyArchived: "보관한 알림이 없습니다",
    failed: "알림을 불러오지 못했습니다.",
    retry: "다시 시도",
    close: "닫기",
    dismiss: "닫기",
    allow: "이 기기에서 알림 받기",
    isUnread: "읽지 않음",
    progress: (percent) => `${percent}%`,
    live: "연결됨",
    connecting: "연결 중…",
    waiting: "다시 연결 중…",
    offline: "오프라인",
    closed: "연결 끊김",
  },
};

/** Whether there are texts of a language tag such as `ko-KR`, or of its language. */
export function shipped(language: string): BellTexts | undefined {
  return TEXTS[language] ?? TEXTS[language.split("-")[0]?.toLowerCase() ?? ""];
}

/** The texts of a language, with some replaced; English where there are none. */
export function textsFor(language: string, replaced: Partial<BellTexts> = {}): BellTexts {
  return { ...(shipped(language) ?? TEXTS.en!), ...replaced };
}
