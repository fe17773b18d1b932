// A Spring front end as tutorials have it: only the address is the gateway's. In a page the libraries are the globals StompJs and
// SockJS, in Node and Deno they are required.
const { Client } = globalThis.StompJs ?? require("@stomp/stompjs");

/** Connects, subscribes, says hello, and calls back with what comes. With `sockJs` by SockJS, to that address. */
function frontEnd({ url, sockJs, connectHeaders, onNotification, onRoom, onError }) {
  const client = new Client({
    ...(sockJs === undefined ? { brokerURL: url } : { webSocketFactory: () => openSockJs(sockJs) }),
    connectHeaders: connectHeaders ?? {},
    reconnectDelay: 200,
    heartbeatIncoming: 4000,
    heartbeatOutgoing: 4000,
  });
  client.onConnect = () => {
    client.subscribe("/member/queue/notification", (message) => {
      const { memberId, notificationId, message: text, redirectPath } = JSON.parse(message.body);
      onNotification({ memberId, notificationId, text, redirectPath });
    });
    client.subscribe("/topic/room.1", (message) => onRoom(JSON.parse(message.body).message));
    client.publish({
      destination: "/publish/room/1",
      body: JSON.stringify({ message: "hello", redirectPath: "/room/1" }),
    });
  };
  client.onStompError = (frame) => onError(frame.headers["message"]);
  client.activate();
  return client;
}

function openSockJs(url) {
  const SockJS = globalThis.SockJS ?? require("sockjs-client");
  return new SockJS(url);
}

if (globalThis.StompJs !== undefined) globalThis.frontEnd = frontEnd;
else {
  const print = (kind) => (value) => console.log(JSON.stringify({ kind, value }));
  globalThis.WebSocket ??= require("ws").WebSocket;
  frontEnd({
    url: process.env.STOMP_URL,
    sockJs: process.env.SOCKJS_URL,
    connectHeaders: { Authorization: `Bearer ${process.env.STOMP_TOKEN}` },
    onNotification: print("notification"),
    onRoom: print("room"),
    onError: print("error"),
  });
}
