// The comparator of the inference benchmark: Kestrel that reads the request and answers the same bytes every time; at another port as gRPC does.
//   BareKestrel PORT FILE GRPC-PORT
var port = int.Parse(args[0], System.Globalization.CultureInfo.InvariantCulture);
var grpcPort = int.Parse(args[2], System.Globalization.CultureInfo.InvariantCulture);
var answer = await File.ReadAllBytesAsync(args[1]);
var builder = WebApplication.CreateSlimBuilder();
builder.Logging.ClearProviders();
builder.WebHost.ConfigureKestrel(kestrel =>
{
    kestrel.AddServerHeader = false;
    kestrel.ListenLocalhost(port);
    if (grpcPort > 0)
    {
        kestrel.ListenLocalhost(grpcPort, listen => listen.Protocols = Microsoft.AspNetCore.Server.Kestrel.Core.HttpProtocols.Http2);
    }
});
var app = builder.Build();
app.Run(context => BareKestrel.BareAnswer.WriteAsync(context, answer, context.Connection.LocalPort == grpcPort));
await app.RunAsync();
